// What the console does beyond links and forms: keys, palette, dialogs, theme, times that go on counting,
// and pages that update in place without taking the focus. Every page can be read without any of it.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const LIVE_EVERY_MS = 5_000;
const GO_WAIT_MS = 1_200;

// --- times -----------------------------------------------------------------------------------------------------

const here = new Intl.DateTimeFormat("en-GB", {
  weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});

function spanText(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

function countTimes(root = document) {
  const now = Date.now();
  for (const time of $$("time[data-ago]", root)) {
    const seconds = (now - Date.parse(time.dateTime)) / 1000;
    const text = Math.abs(seconds) < 5 ? "just now" : seconds > 0 ? `${spanText(seconds)} ago` : `in ${spanText(-seconds)}`;
    if (time.textContent !== text) time.textContent = text;
  }
}

document.addEventListener("mouseover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (!time || time.dataset.local) return;
  time.dataset.local = "1";
  time.title = `${here.format(new Date(time.dateTime))} (here)\n${time.title}`;
});

// --- theme -----------------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-theme-form]")) return;
  event.preventDefault();
  const order = ["system", "light", "dark"];
  for (const button of $$("[data-theme-form] button")) {
    const chosen = button.value;
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    document.cookie = `theme=${chosen};path=/;max-age=31536000;samesite=lax`;
    $("span", button).textContent = chosen;
    button.value = order[(order.indexOf(chosen) + 1) % order.length];
  }
  document.dispatchEvent(new Event("themechange"));
});

// --- lists: j k o x --------------------------------------------------------------------------------------------

function lines() {
  return $$("[data-list] tbody tr:not(.group), ol[data-list] > li, ul[data-list] > li").filter((line) => line.offsetParent !== null);
}

function cursor() {
  return $("[data-cursor]:not(.palette *)");
}

function moveCursor(step) {
  const all = lines();
  if (all.length === 0) return;
  const at = all.indexOf(cursor());
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)] ?? all[0];
  cursor()?.removeAttribute("data-cursor");
  next.setAttribute("data-cursor", "");
  next.scrollIntoView({ block: "nearest" });
  const target = $("a, button", next);
  target?.focus({ preventScroll: true });
}

// --- dialogs and the palette -----------------------------------------------------------------------------------

function openDialog(dialog) {
  if (dialog && !dialog.open) dialog.showModal();
}

async function openPalette() {
  const palette = $("#palette");
  if (!palette) return;
  if (!palette.firstChild) {
    const answer = await fetch("/search?palette=1");
    if (!answer.ok || answer.redirected) return location.assign("/search");
    palette.innerHTML = await answer.text();
  }
  openDialog(palette);
  const input = $("input", palette);
  input.select();
  input.focus();
}

let asked = 0;
let searching = Promise.resolve();
async function searchPalette(input) {
  const mine = ++asked;
  const answer = await fetch(`/search?palette=results&q=${encodeURIComponent(input.value)}`);
  if (mine === asked && answer.ok) $(".palette-results").innerHTML = await answer.text();
}

document.addEventListener("input", (event) => {
  if (event.target.matches(".palette input")) searching = searchPalette(event.target);
});

// Whoever types fast means what they typed, not what was found for half of it.
async function openChosen() {
  await searching;
  const chosen = $(".palette-results a[data-cursor]") ?? $(".palette-results a");
  if (chosen) location.assign(chosen.href);
}

function movePalette(step) {
  const all = $$(".palette-results a");
  const at = all.findIndex((line) => line.hasAttribute("data-cursor"));
  all[at]?.removeAttribute("data-cursor");
  const next = all[(at + step + all.length) % all.length];
  next?.setAttribute("data-cursor", "");
  next?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("click", (event) => {
  const target = event.target;
  const opener = target.closest("[data-dialog]");
  if (opener && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    openDialog($(`#${opener.dataset.dialog}`));
  } else if (target.closest("[data-palette]") && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    openPalette();
  } else if (target.closest("[data-close]")) {
    target.closest(".toast")?.remove();
  } else if (target.closest("[data-panel-close]")) {
    event.preventDefault();
    closePanel();
  } else if (target.closest("[data-copy]")) {
    copy(target.closest("[data-copy]"));
  } else if (target.matches("dialog[open]")) {
    target.close(); // outside of its content: the backdrop
  }
});

async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

function closePanel() {
  const panel = $(".panel:not(:empty)");
  if (!panel) return false;
  panel.replaceChildren();
  $("[data-panel-link][aria-current]")?.focus();
  for (const link of $$("[data-panel-link][aria-current]")) link.removeAttribute("aria-current");
  const url = new URL(location.href);
  url.searchParams.delete("check");
  history.replaceState(null, "", url);
  return true;
}

// A check's link opens the panel in place; its address is the page with the panel open.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("[data-panel-link]");
  if (!link || !$("#panel") || event.ctrlKey || event.metaKey || event.shiftKey || typeof htmx === "undefined") return;
  event.preventDefault();
  const check = new URL(link.href).searchParams.get("check");
  for (const other of $$("[data-panel-link][aria-current]")) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  history.replaceState(null, "", link.href);
  await htmx.ajax("GET", `/checks/${check}/panel`, { target: "#panel", swap: "innerHTML" });
});

// --- keys ------------------------------------------------------------------------------------------------------

let goUntil = 0;

function isTyping(target) {
  return target.matches("input:not([type=checkbox], [type=radio]), textarea, select") || target.isContentEditable;
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openPalette();
    return;
  }
  if ($("#palette[open]")) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      movePalette(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && event.target.matches("input")) {
      event.preventDefault();
      openChosen();
    }
    return;
  }
  if (event.key === "Escape") {
    if (isTyping(event.target)) event.target.blur();
    else if (!$("dialog[open]")) closePanel();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || $("dialog[open]")) return;
  if (Date.now() < goUntil) {
    goUntil = 0;
    const link = $(`[data-go="${CSS.escape(event.key)}"]`);
    if (link) {
      event.preventDefault();
      location.assign(link.href);
    }
    return;
  }
  const act = {
    "?": () => openDialog($("#keys")),
    "/": () => ($("[data-page-search]") ? $("[data-page-search]").focus() : openPalette()),
    g: () => (goUntil = Date.now() + GO_WAIT_MS),
    j: () => moveCursor(1),
    k: () => moveCursor(-1),
    o: () => $("a", cursor() ?? document.createElement("i"))?.click(),
    x: () => $("input[type=checkbox]", cursor() ?? document.createElement("i"))?.click(),
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

// --- forms -----------------------------------------------------------------------------------------------------

document.addEventListener("change", (event) => {
  const filters = event.target.closest("[data-filters]");
  if (filters && event.target.matches("select")) filters.requestSubmit();
  if (event.target.matches("[name=pick]")) countPicked();
});

// Empty choices stay out of the address.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-filters]")) return;
  for (const field of $$("select, input", event.target)) if (!field.value) field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of $$("[data-filters] :disabled")) field.disabled = false;
});

function countPicked() {
  const bar = $(".bulk");
  if (!bar) return;
  const number = $$("[name=pick]:checked").length;
  bar.hidden = number === 0;
  $("[data-picked]", bar).textContent = number === 1 ? "1 picked" : `${number} picked`;
}

// --- live ------------------------------------------------------------------------------------------------------

// A page asks for itself again, and the server answers only when it says something else. We wait while a person is
// in the middle of something: typing, picking, reading a dialog, selecting text.
function isBusy(live) {
  const active = document.activeElement;
  return (
    document.hidden ||
    $("dialog[open]") !== null ||
    (live.contains(active) && isTyping(active)) ||
    $("[name=pick]:checked", live) !== null ||
    $$("textarea", live).some((area) => area.value !== area.defaultValue) ||
    (getSelection()?.toString() && live.contains(getSelection().anchorNode))
  );
}

function placeOf(element, live) {
  // The way back to an element after its surroundings were swapped: its line or own id, and its place in there.
  const anchor = element.closest?.("[id]");
  if (!anchor || !live.contains(anchor) || anchor === live) return null;
  return { id: anchor.id, index: $$("a, button, input, select, summary", anchor).indexOf(element), self: anchor === element };
}

async function refresh() {
  const live = $("#live");
  if (!live || isBusy(live) || typeof htmx === "undefined") return;
  await htmx.ajax("GET", location.href, {
    target: "#live",
    swap: "innerHTML",
    headers: { "X-Live": live.firstElementChild?.dataset.digest ?? "none" },
  });
}

let kept = null;
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.target.id !== "live") return;
  if (event.detail.xhr.status !== 200 || !event.detail.xhr.responseText.startsWith("<div data-digest")) {
    event.detail.shouldSwap = false; // signed out, or an error: keep what is there, and say that it is old
    return;
  }
  kept = {
    focus: placeOf(document.activeElement, event.target),
    cursor: cursor()?.id,
    open: $$("details[open][id]", event.target).map((details) => details.id),
    scroll: $$("[data-keep-scroll]", event.target).map((place) => [place.id, place.scrollLeft, place.scrollTop]),
  };
});
document.addEventListener("htmx:afterSwap", (event) => {
  adopt(event.target);
  if (event.target.id !== "live" || !kept) return;
  for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
  for (const [id, left, top] of kept.scroll) document.getElementById(id)?.scrollTo(left, top);
  if (kept.cursor) document.getElementById(kept.cursor)?.setAttribute("data-cursor", "");
  if (kept.focus) {
    const anchor = document.getElementById(kept.focus.id);
    const same = kept.focus.self ? anchor : $$("a, button, input, select, summary", anchor ?? document.createElement("i"))[kept.focus.index];
    same?.focus({ preventScroll: true });
  }
  kept = null;
});

function tellLive(state) {
  for (const age of $$(".age[data-live]")) if (age.dataset.live !== "off") age.dataset.live = state;
}
document.addEventListener("htmx:sendError", () => tellLive("lost"));
document.addEventListener("htmx:responseError", () => tellLive("lost"));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) tellLive("on");
});

function adopt(root) {
  countTimes(root);
  for (const button of $$("[data-copy][hidden]", root)) button.hidden = !navigator.clipboard;
  for (const button of $$(".when-plain", root)) button.hidden = true;
  countPicked();
}

// Of many tabs on a phone, the one somebody is on is the one they see.
for (const tabs of $$(".tabs")) {
  const now = $("[aria-current]", tabs)?.getBoundingClientRect();
  if (now && now.right > tabs.getBoundingClientRect().right) tabs.scrollLeft = now.left - (tabs.clientWidth - now.width) / 2;
}

adopt(document);
setInterval(countTimes, 1_000);
setInterval(refresh, LIVE_EVERY_MS);
addEventListener("focus", refresh);
