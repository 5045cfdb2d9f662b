// The charts: levels over time, spectra over time, one spectrum with its reconstruction. Drawn with uPlot; the heatmap by hand on its canvas.
"use strict";
window.TocsinCharts = (() => {
  // --- Small tools --------------------------------------------------------------------------------------------------------------------
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** An element; children are nodes or text, so that no name is ever read as HTML. */
  const h = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== undefined && value !== false) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };

  const time = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

  const number = (value) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e5 || size < 1e-3) return value.toExponential(2).replace("e+", "e");
    return String(Number(value.toPrecision(4)));
  };
  const level = (value) => (value === null || value === undefined ? "–" : value < 100 ? value.toFixed(2) : value.toFixed(0));

  const colours = (i) => css(`--s${(i % 6) + 1}`);
  const dashes = [[], [7, 4], [2, 3], [10, 3, 2, 3], [4, 4], [1, 4]];

  const message = (element, text) => {
    element._plot?.destroy();
    element._plot = null;
    element.replaceChildren(h("div", { class: "message" }, text));
  };

  const nearest = (sorted, value) => {
    let low = 0;
    let high = sorted.length - 1;
    if (high < 0) return -1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value) low = middle; else high = middle;
    }
    return Math.abs(sorted[low] - value) <= Math.abs(sorted[high] - value) ? low : high;
  };

  const timeAxis = () => ({
    ...axis(), space: 76,
    values: (_, splits, __, ___, step) => {
      let before = "";
      return splits.map((split) => {
        const date = new Date(split * 1000);
        const today = day.format(date);
        const text = step >= 86400 ? today : (step < 60 ? seconds : clock).format(date);
        const shown = step >= 86400 || today === before ? text : `${text}\n${today}`;
        before = today;
        return shown;
      });
    },
  });
  const axis = () => ({ stroke: css("--ink-2"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid"), width: 1, size: 5 }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelGap: 2, labelSize: 18 });

  /** The axis of values: on a narrow screen its name gives way to the plot. */
  const valueAxis = (element, label, more = {}) => ({ ...axis(), ...(element.clientWidth < 520 ? { size: 46 } : { size: 60, label }), ...more });

  /** Makes the plot, and makes it again when its width changes. Listeners hang on the plot's own elements and go with them. */
  const mount = (element, options, data) => {
    element._plot?.destroy();
    element.replaceChildren();
    const tip = h("div", { class: "tip", hidden: "" });
    const height = Number(element.dataset.height) || 240;
    const plot = new uPlot({ width: Math.max(240, element.clientWidth), height, legend: { show: false }, ...options }, data, element);
    plot.over.append(tip);
    plot.over.addEventListener("mouseleave", () => { tip.hidden = true; });
    element._plot = plot;
    element._tip = tip;
    if (!element._watched) {
      element._watched = new ResizeObserver(() => element._plot?.setSize({ width: Math.max(240, element.clientWidth), height }));
      element._watched.observe(element);
    }
    return plot;
  };

  const showTip = (element, plot, left, content) => {
    const tip = element._tip;
    if (!tip) return;
    if (left < 0 || !content) { tip.hidden = true; return; }
    tip.replaceChildren(...content);
    tip.hidden = false;
    const width = tip.offsetWidth;
    const right = left + 14 + width <= plot.over.clientWidth;
    const place = right ? left + 14 : Math.max(4 - (plot.bbox.left / devicePixelRatio), left - 14 - width);
    tip.style.left = `${place}px`;
  };

  /** Click without dragging picks; dragging zooms; a double click comes back. */
  const listen = (plot, { onPick, onZoom }) => {
    let from = null;
    plot.over.addEventListener("mousedown", (event) => { from = event.clientX; });
    plot.over.addEventListener("click", (event) => {
      if (!onPick || from === null || Math.abs(event.clientX - from) > 3) return;
      onPick(plot.posToVal(event.clientX - plot.over.getBoundingClientRect().left, "x"));
    });
    plot.over.addEventListener("dblclick", () => onZoom?.(null));
  };
  const zoomHook = (onZoom) => (plot) => {
    const { left, width } = plot.select;
    if (width > 6) onZoom?.([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  };
  const cursor = (points = true) => ({ drag: { x: true, y: false, setScale: false }, sync: { key: "time", setSeries: false }, points: points ? { size: 7 } : { show: false } });

  const verticals = (plot, marks) => {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.lineWidth = ratio;
    let last = -Infinity;
    for (const mark of marks) {
      const x = plot.valToPos(mark.at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = mark.colour;
      ctx.setLineDash(mark.dash.map((dash) => dash * ratio));
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
      const width = ctx.measureText(mark.label).width;
      const flip = x + width + 8 * ratio > bbox.left + bbox.width;
      const row = x - last < width + 12 * ratio ? 1 : 0;
      ctx.textAlign = flip ? "right" : "left";
      ctx.fillText(mark.label, x + (flip ? -4 : 4) * ratio, bbox.top + (11 + 13 * row) * ratio);
      last = row ? last : x;
    }
    ctx.restore();
  };

  // --- Levels over time ---------------------------------------------------------------------------------------------------------------
  /** Sensors' points on one axis of times: undefined where another sensor's time has none, null where there is a gap. */
  const aligned = (sensors) => {
    const columns = sensors.map(({ at, level: levels }) => {
      const steps = at.slice(1).map((time, i) => time - at[i]).sort((a, b) => a - b);
      const usual = steps[steps.length >> 1] ?? 0;
      const points = new Map();
      at.forEach((time, i) => {
        if (i > 0 && usual > 0 && time - at[i - 1] > 4 * usual) points.set((at[i - 1] + 1) / 1000, null);
        points.set(time / 1000, levels[i]);
      });
      return points;
    });
    const times = [...new Set(columns.flatMap((points) => [...points.keys()]))].sort((a, b) => a - b);
    return [times, ...columns.map((points) => times.map((time) => points.get(time)))];
  };

  const limitChanges = (sensors) => {
    const changes = [];
    for (const { at, threshold_set: sets } of sensors) {
      let before = 0;
      sets.forEach((set, i) => {
        if (set && before && set !== before) changes.push({ at: at[i] / 1000, label: `limits #${set}` });
        before = set || before;
      });
    }
    changes.sort((a, b) => a.at - b.at);
    return changes.filter((change, i) => !changes.slice(0, i).some((earlier) => earlier.label === change.label));
  };

  const levelTip = (sensors, at, reach) => {
    const content = [];
    sensors.forEach((sensor, s) => {
      const i = nearest(sensor.at, at);
      if (i < 0 || Math.abs(sensor.at[i] - at) > reach) return;
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = colours(s);
      const state = [sensor.verdict[i] || "unjudged", sensor.degraded[i] ? "degraded: without the network" : null, sensor.threshold_set[i] ? `limits #${sensor.threshold_set[i]}` : null];
      if (!content.length) content.push(h("strong", {}, time.format(sensor.at[i])));
      content.push(h("div", {}, swatch, h("strong", {}, sensor.sensor), ` level ${level(sensor.level[i])} · `, state.filter(Boolean).join(" · ")));
      const rows = sensor.detectors.filter(({ points }) => points[i]).map(({ label, points }) => {
        const [score, own, alert, page, role] = points[i];
        return h("tr", {}, h("td", {}, label), h("td", { class: "num" }, level(own)), h("td", { class: "num" }, number(score)), h("td", { class: "num" }, number(alert)), h("td", { class: "num" }, number(page)), h("td", {}, role));
      });
      if (rows.length && sensors.length <= 3) {
        const head = ["Detector", "Level", "Score", "Alert", "Page", "Role"].map((name, n) => h("th", { class: n > 0 && n < 5 ? "num" : undefined }, name));
        content.push(h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)));
      }
    });
    return content.length ? content : null;
  };

  const levels = (element, data, { period, marks = [], onPick, onZoom } = {}) => {
    const sensors = data.sensors.filter(({ at }) => at.length);
    if (!sensors.length) { message(element, "No readings in this period."); return; }
    const table = aligned(sensors);
    const highest = Math.max(...sensors.flatMap(({ level: all }) => all.filter((value) => value !== null)), 0);
    const top = Math.max(2.6, highest * 1.08);
    const bent = top > 7;
    const ticks = [0, 1, 2, 3, 4, 5, 6, 10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e5, 1e6].filter((tick) => tick <= top && (!bent || tick < 4 || tick === 5 || tick > 6));
    const lines = [...marks, ...limitChanges(sensors).map((change) => ({ ...change, colour: css("--ink-2"), dash: [3, 3] }))];
    const bands = (plot) => {
      const { ctx, bbox } = plot;
      const y = (value) => plot.valToPos(value, "y", true);
      ctx.save();
      for (const [low, high, colour] of [[1, Math.min(2, top), "--alert-bg"], [2, top, "--page-bg"]]) {
        if (low >= top) continue;
        ctx.globalAlpha = 0.6;
        ctx.fillStyle = css(colour);
        ctx.fillRect(bbox.left, y(high), bbox.width, y(low) - y(high));
      }
      ctx.restore();
    };
    const over = (plot) => {
      const { ctx, bbox } = plot;
      const ratio = devicePixelRatio;
      ctx.save();
      ctx.font = `600 ${11 * ratio}px system-ui, sans-serif`;
      ctx.textAlign = "left";
      for (const [line, name, colour] of [[1, "1 alert line", "--alert"], [2, "2 page line", "--page"]]) {
        const y = plot.valToPos(line, "y", true);
        ctx.strokeStyle = ctx.fillStyle = css(colour);
        ctx.lineWidth = 1.2 * ratio;
        ctx.setLineDash([]);
        ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
        ctx.fillText(name, bbox.left + 6 * ratio, y - 4 * ratio);
      }
      // Unjudged readings: ticks at the bottom. Degraded ones: open squares on the line.
      sensors.forEach((sensor, s) => {
        sensor.at.forEach((at, i) => {
          const x = plot.valToPos(at / 1000, "x", true);
          if (sensor.level[i] === null) {
            ctx.fillStyle = css("--unjudged");
            ctx.fillRect(x - ratio, bbox.top + bbox.height - (5 + 4 * s) * ratio, 2 * ratio, 4 * ratio);
          } else if (sensor.degraded[i]) {
            ctx.strokeStyle = css("--ink");
            ctx.strokeRect(x - 2.5 * ratio, plot.valToPos(sensor.level[i], "y", true) - 2.5 * ratio, 5 * ratio, 5 * ratio);
          }
        });
      });
      ctx.restore();
      verticals(plot, lines);
    };
    const range = period ?? [table[0][0], table[0][table[0].length - 1]];
    const plot = mount(element, {
      scales: { x: { time: true, range: () => range }, y: { range: () => [0, top], ...(bent ? { distr: 4, asinh: 1 } : {}) } },
      axes: [timeAxis(), valueAxis(element, bent ? "Level (compressed scale)" : "Level", { splits: () => ticks, filter: (_, splits) => splits, values: (_, splits) => splits.map(String) })],
      series: [{}, ...sensors.map((sensor, s) => ({ label: sensor.sensor, stroke: colours(s), width: 1.6, dash: dashes[s % 6], points: { show: sensor.at.length < 60, size: 5, fill: colours(s) } }))],
      cursor: cursor(),
      hooks: {
        drawClear: [bands], draw: [over], setSelect: [zoomHook(onZoom)],
        setCursor: [(plot) => {
          const { left, top: height } = plot.cursor;
          if (left < 0 || height < 0 || !element.matches(":hover")) { showTip(element, plot, -1); return; }
          const reach = Math.max(2000, ((range[1] - range[0]) * 1000) / 60);
          showTip(element, plot, left, levelTip(sensors, plot.posToVal(left, "x") * 1000, reach));
        }],
      },
    }, table);
    listen(plot, { onPick, onZoom });
    legend(document.getElementById(`${element.id}-legend`), [
      ...sensors.map((sensor, s) => key(colours(s), sensor.sensor, dashes[s % 6])),
      sensors.some(({ level: all }) => all.includes(null)) ? shape("unjudged", css("--unjudged"), "M9 2h3v8H9z") : null,
      sensors.some(({ degraded }) => degraded.includes(true)) ? shape("degraded (judged without the network)", "none", "M6 2h8v8H6z", css("--ink")) : null,
    ]);
  };

  // --- Overall levels over time -------------------------------------------------------------------------------------------------------
  /** One chart for each unit the sensors declare: lines of values, from zero where none is below. */
  const overall = (element, data, { period, onPick, onZoom } = {}) => {
    const units = new Map();
    for (const sensor of data.sensors) {
      for (const one of sensor.overall) {
        const line = { name: `${sensor.sensor} ${one.label}`, at: one.at, level: one.value };
        units.set(one.unit, [...(units.get(one.unit) ?? []), line]);
      }
    }
    const frames = new Map([...element.children].map((frame) => [frame.dataset.unit, frame]));
    element.replaceChildren(...[...units].map(([unit, lines]) => {
      const frame = frames.get(unit) ?? h("div", { "data-unit": unit }, h("div", { class: "chart", "data-height": "150", role: "img", "aria-label": `Overall levels in ${unit} over time` }), h("div", { class: "chart-foot" }));
      frame._lines = lines;
      return frame;
    }));
    for (const frame of element.children) values(frame.children[0], frame.children[1], frame._lines, frame.dataset.unit, { period, onPick, onZoom });
  };

  const values = (element, foot, all, unit, { period, onPick, onZoom }) => {
    const lines = all.filter(({ at }) => at.length);
    foot.replaceChildren();
    if (!lines.length) { message(element, `None in ${unit} in this period.`); return; }
    const table = aligned(lines);
    const range = period ?? [table[0][0], table[0][table[0].length - 1]];
    const plot = mount(element, {
      scales: { x: { time: true, range: () => range }, y: { range: (_, least, most) => { const low = Math.min(0, least ?? 0); return [low * 1.08, (most ?? 1) > low ? most * 1.08 : low + 1]; } } },
      axes: [timeAxis(), valueAxis(element, unit, { values: (_, splits) => splits.map(number) })],
      series: [{}, ...lines.map((line, i) => ({ label: line.name, stroke: colours(i), width: 1.6, dash: dashes[i % 6], points: { show: line.at.length < 60, size: 5, fill: colours(i) } }))],
      cursor: cursor(),
      hooks: {
        setSelect: [zoomHook(onZoom)],
        setCursor: [(plot) => {
          const { left, top: height } = plot.cursor;
          if (left < 0 || height < 0 || !element.matches(":hover")) { showTip(element, plot, -1); return; }
          const at = plot.posToVal(left, "x") * 1000;
          const near = lines.map((line) => [line, nearest(line.at, at)]);
          showTip(element, plot, left, [h("strong", {}, time.format(near[0][0].at[near[0][1]])), ...near.map(([line, i]) => h("div", {}, `${line.name} ${number(line.level[i])} ${unit}`))]);
        }],
      },
    }, table);
    listen(plot, { onPick, onZoom });
    legend(foot, lines.map((line, i) => key(colours(i), line.name, dashes[i % 6])));
  };

  const svg = (path, attributes) => {
    const make = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);
    const frame = make("svg");
    frame.setAttribute("viewBox", "0 0 20 12");
    frame.setAttribute("aria-hidden", "true");
    const line = make("path");
    line.setAttribute("d", path);
    for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
    frame.append(line);
    return frame;
  };
  const key = (colour, name, dash = []) => h("span", { class: "key" }, svg("M0 6h20", { stroke: colour, "stroke-width": 2.4, "stroke-dasharray": dash.join(" ") }), name);
  const shape = (name, fill, path, stroke = "none") => h("span", { class: "key" }, svg(path, { fill, stroke, "stroke-width": 1.4 }), name);
  const legend = (element, keys) => element?.replaceChildren(...keys.filter(Boolean));

  // --- Spectra over time --------------------------------------------------------------------------------------------------------------
  /** Viridis (Smith and van der Walt, 2015): even in lightness, and readable without red and green. */
  const VIRIDIS = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140], [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37]];
  const colour = (share) => {
    const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
    const i = Math.min(Math.floor(place), VIRIDIS.length - 2);
    return VIRIDIS[i].map((channel, c) => Math.round(channel + (VIRIDIS[i + 1][c] - channel) * (place - i)));
  };

  /** Lowest and highest colour: the quietest twentieth and the loudest value, at most five decades apart. */
  const span = (amplitude) => {
    const sample = [];
    const stride = Math.max(1, Math.floor(amplitude.length / 20000));
    let high = 0;
    for (let i = 0; i < amplitude.length; i += 1) {
      if (amplitude[i] > high) high = amplitude[i];
      if (i % stride === 0 && amplitude[i] > 0) sample.push(amplitude[i]);
    }
    if (!(high > 0)) return null;
    sample.sort((a, b) => a - b);
    const low = Math.max(sample[Math.floor(sample.length / 20)] ?? high / 1e3, high / 1e5);
    return [Math.min(low, high / 2), high];
  };

  const spectrogram = (element, { at, centre, amplitude, rebuilt = [], axis_unit: unit, amplitude_unit: of }, { period, onPick, onZoom, picked }) => {
    const limits = at.length && centre.length ? span(amplitude) : null;
    const foot = document.getElementById(`${element.id}-legend`);
    if (!limits) { message(element, "No spectra in this period."); foot?.replaceChildren(); return; }
    const rows = centre.length;
    const [low, high] = limits.map(Math.log);
    const image = new ImageData(at.length, rows);
    for (let column = 0; column < at.length; column += 1) {
      for (let row = 0; row < rows; row += 1) {
        const value = amplitude[column * rows + row];
        const shade = colour(value > 0 ? (Math.log(value) - low) / (high - low) : 0);
        // What is rebuilt from a latent has no colour of its own.
        const [r, g, b] = rebuilt[column] ? Array(3).fill(Math.round(0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2])) : shade;
        const place = 4 * ((rows - 1 - row) * at.length + column);
        image.data[place] = r; image.data[place + 1] = g; image.data[place + 2] = b; image.data[place + 3] = 255;
      }
    }
    const canvas = document.createElement("canvas");
    canvas.width = at.length;
    canvas.height = rows;
    canvas.getContext("2d").putImageData(image, 0, 0);

    const times = at.map((value) => value / 1000);
    const steps = times.slice(1).map((value, i) => value - times[i]).sort((a, b) => a - b);
    const usual = steps[steps.length >> 1] ?? 10;
    const half = rows > 1 ? (centre[1] - centre[0]) / 2 : centre[0] / 2 || 1;
    const bottom = Math.max(0, centre[0] - half);
    const top = centre[rows - 1] + half;
    const paint = (plot) => {
      const { ctx, bbox } = plot;
      const y0 = plot.valToPos(top, "y", true);
      const y1 = plot.valToPos(bottom, "y", true);
      ctx.save();
      ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
      ctx.imageSmoothingEnabled = false;
      times.forEach((value, i) => {
        // Until the next spectrum, but not across a gap: what was not measured stays empty.
        const end = Math.min(times[i + 1] ?? value + usual, value + 2.5 * usual);
        const x0 = Math.floor(plot.valToPos(value, "x", true));
        const x1 = Math.ceil(plot.valToPos(end, "x", true));
        ctx.drawImage(canvas, i, 0, 1, rows, x0, y0, Math.max(1, x1 - x0), y1 - y0);
      });
      ctx.restore();
      if (picked) verticals(plot, [{ at: picked / 1000, label: "shown below", colour: "#ffffff", dash: [] }]);
    };
    const range = period ?? [times[0], times[times.length - 1] + usual];
    const plot = mount(element, {
      scales: { x: { time: true, range: () => range }, y: { range: () => [bottom, top] } },
      axes: [{ ...timeAxis(), grid: { show: false } }, valueAxis(element, `Frequency (${unit})`, { grid: { show: false } })],
      series: [{}, { show: true, stroke: "transparent", points: { show: false } }],
      cursor: { ...cursor(false), y: true },
      hooks: {
        draw: [paint], setSelect: [zoomHook(onZoom)],
        setCursor: [(plot) => {
          const { left, top: height } = plot.cursor;
          if (left < 0 || height < 0 || !element.matches(":hover")) { showTip(element, plot, -1); return; }
          const column = nearest(at, plot.posToVal(left, "x") * 1000);
          const row = nearest(centre, plot.posToVal(height, "y"));
          showTip(element, plot, left, [h("strong", {}, time.format(at[column])), h("div", {}, `${number(centre[row])} ${unit}: ${number(amplitude[column * rows + row])} ${of}${rebuilt[column] ? ", rebuilt from the latent: not evidence" : ""}`)]);
        }],
      },
    }, [times, times.map(() => null)]);
    listen(plot, { onPick, onZoom });
    const scale = h("canvas", { width: 180, height: 1 });
    const brush = scale.getContext("2d");
    for (let x = 0; x < 180; x += 1) { brush.fillStyle = `rgb(${colour(x / 179).join(",")})`; brush.fillRect(x, 0, 1, 1); }
    foot?.replaceChildren(h("span", { class: "key" }, `${number(limits[0])} ${of}`, scale, `${number(limits[1])} ${of}`), "amplitude, logarithmic colours; click a time to see its spectrum below", ...(rebuilt.includes(true) ? [h("span", { class: "rebuilt" }, "without colour: not kept, rebuilt from latents, not evidence")] : []));
  };

  // --- One spectrum -------------------------------------------------------------------------------------------------------------------
  const spectrum = (element, errorElement, reading) => {
    const { centre, reconstructed, bin_error: errors, axis_unit: unit, amplitude_unit: of } = reading;
    // Rebuilt ones are shown of a machine's readings, and never as the evidence of an incident.
    const rebuilt = errorElement ? (reading.rebuilt?.amplitude ?? []) : [];
    const [observed, name, colours] = rebuilt.length ? [rebuilt, "not kept: rebuilt from its latent, not evidence", [css("--error"), [1, 4]]] : [reading.observed, "observed", [css("--observed"), []]];
    if (!centre.length || !observed.length) { message(element, "No spectrum is kept of this reading."); errorElement?.replaceChildren(); return; }
    const positive = [...observed, ...reconstructed].filter((value) => value > 0);
    const high = Math.max(...positive, 1e-12);
    const low = Math.max(Math.min(...positive, high / 10), high / 1e6);
    const shown = (values) => (values.length === centre.length ? values.map((value) => Math.max(value, low)) : centre.map(() => null));
    const total = errors.reduce((sum, error) => sum + error, 0);
    const half = centre.length > 1 ? (centre[1] - centre[0]) / 2 : 1;
    const range = [Math.max(0, centre[0] - half), centre[centre.length - 1] + half];
    const tip = (on) => (plot) => {
      const { left, top: height } = plot.cursor;
      if (left < 0 || height < 0 || !on.matches(":hover")) { showTip(on, plot, -1); return; }
      const bin = nearest(centre, plot.posToVal(left, "x"));
      showTip(on, plot, left, [
        h("strong", {}, `${number(centre[bin])} ${unit}`), h("div", {}, `${rebuilt.length ? "rebuilt" : "observed"} ${number(observed[bin])} ${of}`),
        reconstructed.length ? h("div", {}, `reconstructed ${number(reconstructed[bin])} ${of}`) : null,
        total > 0 ? h("div", {}, `${((100 * errors[bin]) / total).toFixed(1)} % of the squared error`) : null,
      ].filter(Boolean));
    };
    const frequency = () => ({ ...axis(), label: `Frequency (${unit})`, size: 28 });
    const shared = { drag: { x: false, y: false }, sync: { key: "frequency", setSeries: false } };
    mount(element, {
      scales: { x: { time: false, range: () => range }, y: { distr: 3, range: () => [low * 0.8, high * 1.4] } },
      axes: [frequency(), valueAxis(element, `Amplitude (${of})`, { values: (_, splits) => splits.map((split) => (split === null ? null : number(split))) })],
      series: [{}, { label: name, stroke: colours[0], dash: colours[1], width: 1.6, points: { show: false } }, { label: "reconstructed", stroke: css("--rebuilt"), width: 1.6, dash: [6, 3], points: { show: false } }],
      cursor: shared, hooks: { setCursor: [tip(element)] },
    }, [centre, shown(observed), shown(reconstructed)]);
    if (errorElement) {
      if (errors.length === centre.length) {
        mount(errorElement, {
          scales: { x: { time: false, range: () => range }, y: { range: (_, __, most) => [0, most || 1] } },
          axes: [{ ...frequency(), label: undefined, size: 26 }, valueAxis(errorElement, "Squared error", { values: (_, splits) => splits.map(number) })],
          series: [{}, { label: "squared error", stroke: css("--error"), fill: css("--error"), paths: uPlot.paths.bars({ size: [0.8, 40] }), points: { show: false } }],
          cursor: { ...shared, points: { show: false } }, hooks: { setCursor: [tip(errorElement)] },
        }, [centre, errors]);
      } else message(errorElement, rebuilt.length ? "Errors of single bins are not kept." : "No reconstruction: no network judged this reading.");
    }
    legend(document.getElementById(`${element.id}-legend`), [key(colours[0], name, colours[1]), reconstructed.length ? key(css("--rebuilt"), "reconstructed from healthy machines", [6, 3]) : null, errorElement && errors.length ? shape("squared error of each bin, in the model's space", css("--error"), "M6 2h8v10H6z") : null]);
  };

  return { levels, overall, spectrogram, spectrum, message, h, number, level, time };
})();
