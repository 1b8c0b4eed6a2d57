// The page works without this. With it, what is true now comes in by itself, and a search or a "try again" does not
// load the whole page anew. Everything shown is made on the server; this file only puts it in its place.

const news = document.getElementById("news");
const POLL = 3000, CALM = 1000;
let spoken = 0;

function say(sentence, important = true) {
  // A screen reader hears what somebody asked for at once, and progress every ten seconds at most.
  if (!important && Date.now() - spoken < 10000) return;
  spoken = Date.now();
  news.textContent = sentence;
}

async function part(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (answer.status === 401) location.assign("/");
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.text();
}

const placed = new Map();

function place(id, html) {
  // What has not changed is left alone, and the focus goes back to where it was.
  if (placed.get(id) === html) return;
  placed.set(id, html);
  const region = document.getElementById(id);
  const focused = region.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  region.innerHTML = html;
  if (focused) [...region.querySelectorAll("a, button")].find((one) => keyOf(one) === focused)?.focus({ preventScroll: true });
}

const keyOf = (element) => (element.getAttribute("href") ?? element.form?.action ?? "") + element.textContent;

// Search -------------------------------------------------------------------------------------------------------------

const form = document.getElementById("search");
const box = document.getElementById("q");
let latest = 0;

function asking() {
  // What the form asks for, without what it leaves open.
  return new URLSearchParams([...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
}

async function find(asking) {
  const query = asking.get("q") ?? "";
  const mine = ++latest, results = document.getElementById("results");
  results.setAttribute("aria-busy", "true");
  try {
    const html = query ? await part("/part/results?" + asking) : "";
    if (mine !== latest) return;
    place("results", html);
    const many = results.querySelectorAll(".results > li").length;
    say(query ? (many ? `${many} results` : "Nothing found") : "");
  } catch {
    if (mine === latest) say("The search does not answer right now. Please try again in a minute.");
  } finally {
    if (mine === latest) results.removeAttribute("aria-busy");
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = asking();
  history.pushState(null, "", asked.has("q") ? "/?" + asked : "/");
  find(asked);
});
addEventListener("popstate", () => {
  const address = new URLSearchParams(location.search);
  if (address.has("file_id")) return location.reload(); // more like this: no form asked for it
  for (const field of form.querySelectorAll("[name]")) field.value = address.get(field.name) ?? "";
  find(address);
});
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea") && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    box.select();
  }
});

// Try again ----------------------------------------------------------------------------------------------------------

document.addEventListener("submit", async (event) => {
  if (!("retry" in event.target.dataset)) return;
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(event.target.action, { method: "POST", headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    button.textContent = "Asked";
    button.removeAttribute("aria-label");
    say("Asked: the file is looked at again.");
  } catch {
    button.disabled = false;
    say("This does not work right now. Please try again in a minute.");
  }
});

// What is true now ---------------------------------------------------------------------------------------------------

let before = null, refreshing = null, again = false;

async function refresh() {
  const address = new URLSearchParams(location.search);
  address.delete("q");
  place("progress", await part("/part/progress"));
  if (!address.get("cursor")) place("files", await part("/part/files?" + address));
}

function changed(status) {
  const { now, last_minute, ...state } = status;
  const text = JSON.stringify(state);
  if (text === before) return;
  if (before !== null) {
    const { listed, indexed, unchanged, skipped, failed } = status.files;
    const done = indexed + unchanged + skipped + failed;
    say(status.at_rest ? `Everything is read: ${done} files.` : `${done} of ${listed} files done.`, status.at_rest);
  }
  before = text;
  settle();
}

function settle() {
  // One refresh at a time and a breath between two, however fast the news come in.
  if (refreshing) { again = true; return; }
  again = false;
  refreshing = refresh().catch(() => {}).then(() => new Promise((done) => setTimeout(done, CALM))).then(() => {
    refreshing = null;
    if (again) settle();
  });
}

let stream = null, timer = null;

function listen() {
  stream = new EventSource("/api/events");
  stream.addEventListener("status", (event) => changed(JSON.parse(event.data)));
  stream.onerror = () => {
    if (stream.readyState !== EventSource.CLOSED) return; // the browser comes back by itself
    stream = null;
    poll();
  };
}

async function poll() {
  // No stream to be had: ask now and then, and after a minute try for a stream again.
  for (let turn = 0; turn < 20 && !document.hidden; turn++) {
    try {
      const answer = await fetch("/api/status", { headers: { Accept: "application/json" } });
      if (answer.status === 401) return location.assign("/");
      if (answer.ok) changed(await answer.json());
    } catch { /* away for a moment */ }
    await new Promise((done) => { timer = setTimeout(done, POLL); });
  }
  if (!document.hidden && !stream) listen();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream?.close();
    stream = null;
    clearTimeout(timer);
  } else if (!stream) listen();
});
if (!document.hidden) listen();
