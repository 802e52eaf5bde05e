// Local times beside UTC, pages that keep themselves up to date, and a few keys. All works without it.
"use strict";

const local = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "short", timeStyle: "medium" });

function addLocalTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    if (time.nextElementSibling?.className === "local") continue;
    const mark = document.createElement("span");
    mark.className = "local";
    mark.textContent = local.format(new Date(time.dateTime));
    time.after(" ", mark); // the space is where a narrow page breaks
  }
}

// A part that somebody works in is left alone: an open detail, a field with the focus.
function isInUse(part) {
  return part.contains(document.activeElement) || part.querySelector("details[open]") !== null;
}

let asking = false;
async function refresh() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (!other || isInUse(part)) continue;
      addLocalTimes(other);
      if (part.innerHTML !== other.innerHTML) part.replaceChildren(...other.childNodes);
    }
  } catch {
    // the next change asks again
  } finally {
    asking = false;
  }
}

addLocalTimes(document);
if (document.querySelector("header nav")) {
  const changes = new EventSource("/live");
  changes.onmessage = refresh;
  addEventListener("pagehide", () => changes.close());
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search")?.focus();
  }
});
