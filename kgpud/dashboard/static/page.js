// What pages do better with a script: local times, copy buttons, the curl line, live parts.
"use strict";

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    time.textContent = moment.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }
}

function copyButtons(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue; // only over TLS or from this machine
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
}

function curlLine(form) {
  const shown = document.querySelector("#curl-line pre");
  const numbers = new Set(["gpu_count", "ephemeral_storage_gib"]);
  const fields = ["name", "image", "gpu_model", "cpu", "memory", "ssh_pubkey", "gpu_count", "ephemeral_storage_gib"];
  form.addEventListener("input", () => {
    const given = new FormData(form), body = {};
    for (const name of fields) {
      const text = (given.get(name) || "").trim();
      if (text) body[name] = numbers.has(name) ? Number(text) : text;
    }
    const quoted = "'" + JSON.stringify(body).replaceAll("'", "'\\''") + "'";
    shown.textContent = shown.textContent.replace(/-d [^]*$/, () => "-d " + quoted);
  });
}

// Load the page again in the background and put its live parts in place of the old ones.
async function refresh() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (response.redirected || !response.ok) { location.reload(); return; }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh || part.contains(document.activeElement)) continue;
    localTimes(fresh);
    if (fresh.innerHTML !== part.innerHTML) part.replaceChildren(...fresh.childNodes);
  }
}

function live() {
  let running = false, again = false;
  const source = new EventSource("/live?told=" + document.body.dataset.told);
  source.addEventListener("change", async () => {
    again = true;
    if (running) return;
    running = true;
    while (again) { again = false; await refresh(); }
    running = false;
  });
  addEventListener("pagehide", () => source.close());
}

// Send a chosen file straight to where the object lies.
function upload(place) {
  const [input, bar, status] = ["input", "progress", "[role=status]"].map((one) => place.querySelector(one));
  place.hidden = false;
  input.addEventListener("change", () => {
    const file = input.files[0];
    if (!file) return;
    if (file.size > Number(place.dataset.most)) {
      status.textContent = "This file is larger than one upload may be: send it in parts, over the API.";
      return;
    }
    const request = new XMLHttpRequest();
    request.open("PUT", place.dataset.upload);
    request.upload.addEventListener("progress", (event) => { bar.value = event.loaded / (event.total || 1); });
    request.addEventListener("load", () => {
      if (request.status < 300) location.assign(place.dataset.then);
      else status.textContent = `The upload was refused (${request.status}). Make a new object and try again.`;
    });
    request.addEventListener("error", () => { status.textContent = "The connection broke. Choose the file again."; });
    bar.hidden = false;
    status.textContent = `Uploading ${file.name} …`;
    request.send(file);
  });
}

localTimes(document);
copyButtons(document);
const place = document.querySelector("[data-upload]");
if (place) upload(place);
const form = document.querySelector("[data-rent]");
if (form) curlLine(form);
if (document.querySelector("[data-live]")) live();
