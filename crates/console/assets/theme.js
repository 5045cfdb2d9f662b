// Before the first paint, so that a chosen theme doesn't flash.
"use strict";
(() => {
  try {
    const theme = localStorage.getItem("tocsin-theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch { /* no storage: the system's theme */ }
})();
