// Local times beside UTC, pages that keep themselves up to date, and a few keys. All works without it.
"use strict";

const language = document.documentElement.lang;
const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" };
const sameDay = new Intl.DateTimeFormat(language, clock);
const otherDay = new Intl.DateTimeFormat(language, { month: "2-digit", day: "2-digit", ...clock });

function addLocalTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (time.nextElementSibling?.className === "local" || at.getTimezoneOffset() === 0) continue;
    const mark = document.createElement("span");
    mark.className = "local";
    mark.textContent = (at.getDate() === at.getUTCDate() ? sameDay : otherDay).format(at);
    time.after(" ", mark); // the space is where a narrow page breaks
  }
}

// A part that somebody works in is left alone: an open detail, a field with the focus or with something in it.
function isInUse(part) {
  const typed = [...part.querySelectorAll("input, textarea")].some((field) => field.value !== field.defaultValue);
  return typed || part.contains(document.activeElement) || part.querySelector("details[open]") !== null;
}

let asking = false;
async function refresh() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const headers = { accept: "text/html", "x-by-itself": "1" }; // nobody asks: the session may still end
    const answer = await fetch(location.href, { headers, redirect: "error" });
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
