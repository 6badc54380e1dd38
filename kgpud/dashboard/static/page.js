// What pages do better with a script: local times, ticking clocks, copies, the curl line, uploads,
// live parts. Every page works without it.
"use strict";

const body = document.body;
document.documentElement.classList.add("scripted");

// The server's clock, as far as this page can tell.
const behind = Date.now() - Number(body.dataset.now);

function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000)), minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes < 1) return `${seconds} s`;
  if (hours < 1) return `${minutes} min ${seconds % 60} s`;
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// Times in the reader's zone, their titles keep UTC; and how long it is since.
function tellTime(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const timeStyle = time.hasAttribute("data-exact") ? "medium" : "short";
    const shown = new Date(time.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle });
    if (time.textContent !== shown) time.textContent = shown;
  }
  for (const clock of root.querySelectorAll("[data-since]")) {
    const shown = duration(Date.now() - behind - Number(clock.dataset.since));
    if (clock.textContent !== shown) clock.textContent = shown;
  }
}

async function copy(button) {
  const text = button.closest(".copy").querySelector("pre");
  try {
    await navigator.clipboard.writeText(text.textContent);
  } catch {
    // Over plain HTTP from another machine there is no clipboard to write to.
    getSelection().selectAllChildren(text);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

// What the form says, as POST /v1/pods takes it: in the form's order, as the server words it.
function asked(form) {
  const wanted = {};
  for (const field of form.querySelectorAll("[name]:not([type=hidden], [type=radio]:not(:checked), button)")) {
    const text = field.value.trim();
    if (!text) continue;
    if (field.name === "env") {
      const pairs = text.split("\n").filter((line) => line.includes("="));
      wanted.env = Object.fromEntries(pairs.map((line) => {
        const at = line.indexOf("=");
        return [line.slice(0, at).trim(), line.slice(at + 1)];
      }));
    } else {
      wanted[field.name] = field.type === "number" && /^\d+$/.test(text) ? Number(text) : text;
    }
  }
  return wanted;
}

function curlLine(form) {
  const shown = document.querySelector("#curl pre");
  form.addEventListener("input", () => {
    const quoted = "'" + JSON.stringify(asked(form), null, 2).replaceAll("'", `'"'"'`) + "'";
    shown.textContent = shown.textContent.replace(/-d '[^]*$/, () => "-d " + quoted);
  });
}

// Make a node like another, touching no more than what differs: focus, selection and scroll stay.
// What has an id becomes nothing else, or a button that has the focus would be somebody else's.
function become(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName || old.nodeType !== Node.ELEMENT_NODE || old.id !== fresh.id) {
    old.replaceWith(fresh);
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  const before = [...old.childNodes], after = [...fresh.childNodes];
  for (const [at, child] of after.entries()) {
    if (at < before.length) become(before[at], child);
    else old.append(child);
  }
  for (const child of before.slice(after.length)) child.remove();
}

// Load the page again in the background and bring its live parts up to date.
async function refresh() {
  // Not somebody who uses the page: an open tab keeps nobody signed in.
  const response = await fetch(location.href, { cache: "no-store", headers: { "X-News": "1" } });
  if (response.redirected || response.status === 403 || response.status === 404) location.reload();
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  body.dataset.told = page.body.dataset.told;
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh) continue;
    tellTime(fresh);
    become(part, fresh);
  }
}

// Follow what the server tells. Gives up nothing: a stream that was refused is asked for again.
function listen(hear) {
  let source, timer, wait = 1000;
  const open = () => {
    source = new EventSource("/live");
    for (const kind of ["told", "change"]) {
      source.addEventListener(kind, ({ data }) => { wait = 1000; hear({ kind, data }); });
    }
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(() => { hear({ kind: "change" }); open(); }, wait);
      wait = Math.min(2 * wait, 60000);
    });
  };
  open();
  return () => { clearTimeout(timer); source.close(); };
}

function live() {
  let running = false, again = false;
  const update = async () => {
    again = true;
    if (running || document.hidden) return;
    running = true;
    while (again) {
      again = false;
      await refresh().catch(() => {}); // the server is away: the stream's return will tell
    }
    running = false;
  };
  const hear = ({ kind, data }) => { if (kind === "change" || data !== body.dataset.told) update(); };
  document.addEventListener("visibilitychange", () => { if (again) update(); });
  if (navigator.locks) {
    // A browser has six connections for us in all: one tab listens, and tells the others.
    const channel = new BroadcastChannel("live");
    channel.addEventListener("message", ({ data }) => hear(data));
    navigator.locks.request("live", () => new Promise(() => {
      listen((news) => { hear(news); channel.postMessage(news); });
    }));
  } else {
    // Not over TLS: those tabs listen that are looked at.
    let stop = () => {};
    const follow = () => { stop(); stop = document.hidden ? () => {} : listen(hear); };
    document.addEventListener("visibilitychange", follow);
    follow();
  }
}

// Send a chosen file straight to where the object lies.
function upload(place) {
  const [input, bar, status] = ["input", "progress", "[role=status]"].map((one) => place.querySelector(one));
  const say = (words) => { status.textContent = words; };
  place.hidden = false;
  input.addEventListener("change", () => {
    const file = input.files[0];
    if (!file) return;
    if (file.size > Number(place.dataset.most)) {
      say("This file is larger than one upload may be: send it in parts, over the API.");
      return;
    }
    const request = new XMLHttpRequest();
    const failed = (words) => { say(words); bar.hidden = true; input.disabled = false; input.value = ""; };
    request.open("PUT", place.dataset.upload);
    request.upload.addEventListener("progress", ({ loaded }) => {
      bar.value = loaded / (file.size || 1);
      say(`${file.name}: ${Math.floor(100 * bar.value)} %`);
    });
    request.addEventListener("load", () => {
      if (request.status < 300) location.assign(place.dataset.then);
      else failed(`The upload was refused (${request.status}). Make a new object and try again.`);
    });
    request.addEventListener("error", () => failed("The connection broke. Choose the file again."));
    bar.hidden = false;
    input.disabled = true;
    say(`Uploading ${file.name} …`);
    request.send(file);
  });
}

tellTime(document);
if (document.querySelector("[data-since]")) setInterval(tellTime, 1000, document);
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-copy]");
  if (button) copy(button);
});
// A second click on a button would send its form twice.
document.addEventListener("submit", ({ submitter }) => setTimeout(() => { if (submitter) submitter.disabled = true; }));
addEventListener("pageshow", () => { for (const one of document.querySelectorAll("button:disabled")) one.disabled = false; });
const place = document.querySelector("[data-upload]");
if (place) upload(place);
const form = document.querySelector("form.rent");
if (form) curlLine(form);
if (document.querySelector("[data-live]")) live();
