// The review's slider, on the page and in the file that stands alone; and the axes in the viewer's time zone, on the page.
"use strict";
(() => {
  const slider = document.getElementById("slider");
  const slide = document.getElementById("slide");
  if (slider && slide) {
    const input = slide.querySelector("input");
    const captures = [...document.getElementById("captures").children];
    const caption = document.getElementById("captured");
    const lines = ["observed", "baseline", "rebuilt", "latent"].map((name) => [name, slider.querySelector(`.plot path.${name}`)]);
    const drawn = (heights) => {
      const points = heights ? heights.split(" ") : [];
      const last = Math.max(points.length - 1, 1);
      return points.map((y, nth) => `${nth ? "L" : "M"}${((1000 * nth) / last).toFixed(1)} ${y}`).join("");
    };
    const show = () => {
      const capture = captures[Number(input.value)];
      if (!capture) return;
      for (const [name, path] of lines) path?.setAttribute("d", drawn(capture.dataset[name]));
      caption.replaceChildren(...[...capture.childNodes].map((node) => node.cloneNode(true)));
      input.setAttribute("aria-valuetext", capture.textContent);
    };
    slide.hidden = captures.length < 2;
    input.addEventListener("input", show);
    show();
  }
  // A file's times stay UTC, as it says.
  if (document.querySelector("main.alone")) return;
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  for (const svg of document.querySelectorAll(".plot > svg")) {
    let before = "";
    for (const text of svg.querySelectorAll("text[data-at]")) {
      const at = new Date(Number(text.dataset.at) / 1000);
      const date = day.format(at);
      text.textContent = date === before ? clock.format(at) : `${date} ${clock.format(at)}`;
      before = date;
    }
  }
})();
