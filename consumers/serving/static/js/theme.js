// Loaded before anything is drawn: the colours that were chosen here, else those of the system.
"use strict";
(() => {
  const KEY = "penstock-theme";
  const WORDS = { auto: "as the system has them", light: "light", dark: "dark" };
  const NEXT = { auto: "light", light: "dark", dark: "auto" };
  const stored = () => {
    try { return localStorage.getItem(KEY); } catch { return null; } // storage may be forbidden
  };
  let theme = WORDS[stored()] ? stored() : "auto";

  const apply = () => {
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) {
      button.setAttribute("aria-label", `Colours: ${WORDS[theme]}`);
      button.title = `Colours: ${WORDS[theme]}`;
    }
    document.dispatchEvent(new CustomEvent("theme"));
  };

  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      theme = NEXT[theme];
      try { localStorage.setItem(KEY, theme); } catch { /* then it holds for this page only */ }
      apply();
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  document.documentElement.dataset.theme = theme;
})();
