// Shows today's bread on the little screen in the window.

const shelf = document.querySelector("#shelf");

async function refresh() {
  const answer = await fetch("/today.json", { cache: "no-store" });
  if (!answer.ok) {
    shelf.textContent = "Please knock, the screen is having a rest.";
    return;
  }
  const loaves = await answer.json();
  shelf.replaceChildren(
    ...loaves
      .filter((loaf) => loaf.left > 0)
      .map((loaf) => {
        const row = document.createElement("li");
        row.textContent = loaf.left === 1 ? `${loaf.name}: last one, be quick` : `${loaf.name}: ${loaf.left}`;
        return row;
      }),
  );
}

// Steam from the oven fogs the glass every twenty minutes, so redraw more often than that.
setInterval(refresh, 5 * 60 * 1000);
refresh();
