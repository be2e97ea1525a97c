// The console's one script. Nothing depends on it: it copies ids, keeps the overview current, redraws the preview
// while an offering is written, and keeps an impatient second press from sending a form twice.

export const SCRIPT = `"use strict";
const fetchPage = async (url, options) => {
  const answer = await fetch(url, { credentials: "same-origin", ...options });
  if (!answer.ok || answer.redirected) throw new Error("not now");
  return new DOMParser().parseFromString(await answer.text(), "text/html");
};

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  const label = button.getAttribute("aria-label");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      return;
    }
    button.classList.add("done");
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      button.classList.remove("done");
      button.setAttribute("aria-label", label);
    }, 1500);
  });
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  if (form.method === "post") {
    form.dataset.sent = "1";
    event.submitter?.setAttribute("aria-busy", "true");
  }
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
});

for (const box of document.querySelectorAll("input[data-reveals]")) {
  const show = () => {
    document.getElementById(box.dataset.reveals).hidden = !box.checked;
  };
  box.addEventListener("change", show);
  show();
}

const live = document.querySelector("[data-live]");
if (live) {
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const now = document.querySelector("[data-live]");
      const address = new URL(location.pathname, location.origin);
      address.searchParams.set("seen", now.dataset.seen);
      const page = await fetchPage(address);
      const fresh = page.querySelector("[data-live]");
      if (fresh && !now.contains(document.activeElement)) now.replaceWith(fresh);
    } catch {}
  };
  setInterval(refresh, Number(live.dataset.live));
  document.addEventListener("visibilitychange", refresh);
}

const draft = document.querySelector("form[data-preview]");
if (draft) {
  let timer, asked = 0;
  const redraw = async () => {
    const turn = ++asked;
    try {
      const body = new URLSearchParams(new FormData(draft));
      const page = await fetchPage(draft.dataset.preview, { method: "POST", body });
      const fresh = page.querySelector("#preview");
      if (fresh && turn === asked) document.getElementById("preview").replaceWith(fresh);
    } catch {}
  };
  draft.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(redraw, 250);
  });
}
`;
