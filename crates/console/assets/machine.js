// Fetches the numbers of the machine and incident pages, and says what of them the charts show.
"use strict";
(() => {
  const { levels, overall, spectrogram, spectrum, message, h, number, level, time } = window.TocsinCharts;
  const byId = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const ask = async (url) => {
    const answer = await fetch(url, { redirect: "manual" });
    if (answer.type === "opaqueredirect") {
      location.assign(`/login?expired=1&next=${encodeURIComponent(location.pathname + location.search)}`);
      throw new Error("the session has ended");
    }
    if (answer.status === 404) return null;
    if (!answer.ok) throw new Error(answer.status === 503 ? "the service behind it doesn't answer" : `answered ${answer.status}`);
    return answer;
  };
  const json = async (url) => (await ask(url))?.json();
  const micros = (seconds) => Math.round(seconds * 1e6);

  /** A JSON head and a matrix of f32, as the server packs them. */
  const matrix = async (url) => {
    const answer = await ask(url);
    if (!answer) return { at: [], centre: [], amplitude: [] };
    const bytes = await answer.arrayBuffer();
    const length = new DataView(bytes).getUint32(0, true);
    return { ...JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length))), amplitude: new Float32Array(bytes, 4 + length) };
  };

  /** Keeps a view that is already drawn when a later fetch fails. */
  const attempt = async (element, what, work) => {
    try { await work(); } catch (error) { if (!element._plot) message(element, `${what} can't be shown now: ${error.message}.`); }
  };

  // --- The machine page ---------------------------------------------------------------------------------------------------------------
  const startMachine = (page) => {
    const { base, range } = page.dataset;
    const view = { zoom: null, at: null, sensor: byId("sensor").value, series: null, heat: null, reading: null };
    let turn = 0;

    const period = () => {
      if (view.zoom) return view.zoom;
      const times = (view.series?.sensors ?? []).flatMap(({ at }) => (at.length ? [at[0], at[at.length - 1]] : []));
      if (!times.length) return null;
      const [first, last] = [Math.min(...times) / 1000, Math.max(...times) / 1000];
      const asked = view.series.from === null || range === "all" ? first : view.series.from / 1000;
      return [Math.min(asked, first), Math.max(last, first + 60)];
    };

    const onZoom = (zoom) => { view.zoom = zoom && zoom[1] - zoom[0] > 1 ? zoom : null; load(); };
    const onPick = (at) => { view.at = at * 1000; loadSpectrum(); drawHeat(); };

    const drawLevels = () => {
      levels(byId("levels"), view.series, { period: period(), onPick, onZoom });
      // Most sensors declare none: then there is nothing to say about them.
      byId("overall-card").hidden = !view.series.sensors.some((sensor) => sensor.overall.length);
      byId("zones").replaceChildren(...zones(view.series));
      overall(byId("overall"), view.series, { period: period(), onPick, onZoom });
    };
    /** The zone that each overall level's newest value stands in, where its class has zones. */
    const zones = (series) => series.sensors.flatMap((sensor) => sensor.overall.filter(({ zone }) => zone)
      .map(({ label, zone }) => h("span", { class: "zone", "data-zone": zone }, h("strong", {}, `Zone ${zone}`), ` ${sensor.sensor} ${label}`)));
    const drawHeat = () => view.heat && spectrogram(byId("spectrogram"), view.heat, { period: period(), onPick, onZoom, picked: view.at });
    const drawSpectrum = () => view.reading && spectrum(byId("spectrum"), byId("errors"), view.reading);

    const loadLevels = () => attempt(byId("levels"), "Levels", async () => {
      const query = view.zoom ? `from=${micros(view.zoom[0])}&to=${micros(view.zoom[1])}` : `range=${range}`;
      view.series = (await json(`${base}/series?${query}`)) ?? { sensors: [] };
      drawLevels();
    });
    const loadHeat = () => attempt(byId("spectrogram"), "Spectra", async () => {
      const shown = period();
      if (!shown || !view.sensor) { message(byId("spectrogram"), "No spectra in this period."); return; }
      const query = new URLSearchParams({ sensor: view.sensor, from: micros(shown[0]), to: micros(shown[1] + 1) });
      if (byId("with-rebuilt").checked) query.set("rebuilt", "true");
      view.heat = await matrix(`${base}/spectrogram?${query}`);
      note("spectrogram-rebuilt", view.heat.said ?? []);
      drawHeat();
    });
    const loadSpectrum = () => attempt(byId("spectrum"), "The spectrum", async () => {
      if (!view.sensor) return;
      const query = new URLSearchParams({ sensor: view.sensor });
      if (view.at) query.set("at", String(Math.round((view.at + 500) * 1000)));
      view.reading = await json(`${base}/spectrum?${query}`);
      if (!view.reading) { message(byId("spectrum"), "No reading yet."); return; }
      const { rebuilt } = view.reading;
      note("spectrum-rebuilt", rebuilt ? [
        "The spectrum of this reading is not kept.", rebuilt.said,
        rebuilt.amplitude.length && rebuilt.error !== null ? `The mean squared error of this one was ${number(rebuilt.error)}.` : null,
      ] : []);
      drawSpectrum();
      describe(view.reading);
    });
    const note = (id, sentences) => {
      const element = byId(id);
      element.textContent = sentences.filter(Boolean).join(" ");
      element.hidden = !element.textContent;
    };

    const describe = (reading) => {
      const back = h("button", { type: "button", class: "quiet" }, "Show the newest");
      back.addEventListener("click", () => { view.at = null; loadSpectrum(); drawHeat(); });
      const facts = [
        `${view.at ? "Chosen" : "Newest"} reading of ${view.sensor}: ${time.format(reading.captured_at)}`, `judged ${reading.verdict || "not yet"}${reading.decided_by ? ` (${reading.decided_by})` : ""}`,
        reading.degraded ? "degraded: without the network" : null, reading.condition_unseen ? "speed or load not seen in commissioning: held to alert" : null, reading.rpm ? `${number(reading.rpm)} rpm` : null, reading.load ? `load ${number(reading.load)}` : null,
        ...reading.overall.filter(({ value }) => value !== null).map((one) => `${one.label} ${number(one.value)} ${one.unit}${one.zone ? ` (zone ${one.zone})` : ""}`),
        reading.threshold_set ? `limits #${reading.threshold_set}` : null, reading.bundle ? `model #${reading.bundle}` : null, reading.baseline ? `baseline #${reading.baseline}` : null,
      ];
      const query = new URLSearchParams({ sensor: view.sensor, at: String(Math.round(reading.captured_at * 1000)) });
      const why = h("a", { class: "button quiet", href: `${base}/verdict?${query}` }, "Explain");
      byId("reading").replaceChildren(facts.filter(Boolean).join(" · "), " ", why, ...(view.at ? [" ", back] : []));
      const head = ["Detector", "Level", "Score", "Alert line", "Page line", "Role"].map((name, i) => h("th", { scope: "col", class: i > 0 && i < 5 ? "num" : undefined }, name));
      const rows = reading.detectors.map((one) => h("tr", {}, h("th", { scope: "row" }, one.label), ...[level(one.level), number(one.score), number(one.alert_line), number(one.page_line)].map((text) => h("td", { class: "num" }, text)), h("td", {}, one.role)));
      byId("detectors").replaceChildren(...(rows.length ? [h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows))] : []));
    };

    const load = async () => {
      const mine = ++turn;
      const newest = loadSpectrum();
      await loadLevels();
      if (mine === turn) await loadHeat();
      await newest;
    };

    byId("sensor").addEventListener("change", (event) => { view.sensor = event.target.value; view.heat = null; loadHeat(); loadSpectrum(); });
    byId("with-rebuilt").addEventListener("change", loadHeat);
    document.addEventListener("tocsin:theme", () => { if (view.series) drawLevels(); drawHeat(); drawSpectrum(); });
    let busy = false;
    document.addEventListener("tocsin:changed", async ({ detail }) => {
      // A closer look stays still; so does a chart under the pointer.
      if (detail !== "readings" || busy || view.zoom || document.hidden || document.querySelector(".chart:hover")) return;
      busy = true;
      await Promise.all([load(), new Promise((done) => { setTimeout(done, 4000); })]);
      busy = false;
    });
    load();
  };

  // --- The incident page --------------------------------------------------------------------------------------------------------------
  const startTrend = (element) => {
    const { src } = element.dataset;
    const second = (name) => (element.dataset[name] ? Number(element.dataset[name]) / 1e6 : null);
    let series = null;
    const from = second("opened");
    const until = Math.max(second("until") ?? from, second("closed") ?? from);
    const pad = Math.max(600, 0.3 * (until - from));
    const period = [from - pad, until + pad];
    const draw = () => {
      const marks = [["opened", "opened", "--alert"], ["paged", "page level", "--page"], ["closed", "closed", "--normal"]].filter(([name]) => second(name) !== null)
        .map(([name, label, colour]) => ({ at: second(name), label, colour: css(colour), dash: [] }));
      levels(element, series, { period, marks });
    };
    const load = () => attempt(element, "Levels", async () => {
      series = (await json(`${src}?from=${micros(period[0])}&to=${micros(period[1])}`)) ?? { sensors: [] };
      draw();
    });
    document.addEventListener("tocsin:theme", () => series && draw());
    load();
  };

  const startEvidence = () => {
    const element = byId("spectrum");
    if (!element?.dataset.src) return;
    attempt(element, "The spectrum", async () => {
      const reading = await json(element.dataset.src);
      const draw = () => spectrum(element, null, reading);
      if (!reading) { message(element, "This reading is no longer kept in full."); return; }
      draw();
      element._draw = draw;
    });
  };

  const page = byId("machine");
  if (page) startMachine(page);
  else if (byId("levels")?.dataset.src) {
    startTrend(byId("levels"));
    startEvidence();
    document.addEventListener("tocsin:theme", () => byId("spectrum")?._draw?.());
    document.addEventListener("tocsin:renewed", ({ detail }) => { if (detail.id === "evidence") startEvidence(); });
  }
})();
