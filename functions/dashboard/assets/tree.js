// The tree of folders opens without loading the page anew, and "everything" and single folders exclude each other.
// Without this its links load the page with a branch opened.

const everything = document.querySelector("[name=everything]");

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a.into");
  if (!link) return;
  event.preventDefault();
  link.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch("/part/folders?parent=" + encodeURIComponent(link.dataset.parent), { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const branch = document.createElement("div");
    branch.innerHTML = await answer.text();
    link.replaceWith(branch);
    branch.querySelector("input")?.focus();
  } catch {
    location.assign(link.href);
  }
});

document.addEventListener("change", (event) => {
  if (event.target.name === "folder" && event.target.checked) everything.checked = false;
  if (event.target === everything && everything.checked)
    for (const one of document.querySelectorAll("[name=folder]:checked")) one.checked = false;
});
