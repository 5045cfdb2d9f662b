// What every page does: times in the viewer's zone, the theme, filters, and staying live.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // --- Times: in the viewer's zone, with how long ago -------------------------------------------------------------------------------
  const sameDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const thisYear = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const otherYear = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

  const age = (ms) => {
    const seconds = Math.max(0, Math.round(ms / 1000));
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  };

  // The clock of the page's site, where it is not the viewer's: a formatter, made once.
  const siteClock = (() => {
    const zone = $("[data-zone]")?.dataset.zone;
    const clock = (timeZone) => new Intl.DateTimeFormat(undefined, { timeZone, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    try {
      return zone && { site: clock(zone), viewer: clock(undefined) };
    } catch {
      return undefined; // a zone this browser does not know
    }
  })();
  const atSite = (at) => {
    const there = siteClock?.site.format(at);
    return there && there !== siteClock.viewer.format(at) ? `${there} at the site` : "";
  };

  const localise = (root) => {
    const now = Date.now();
    const today = new Date(now).toDateString();
    const year = new Date(now).getFullYear();
    for (const time of $$("time[datetime]", root)) {
      const at = new Date(time.getAttribute("datetime"));
      if (Number.isNaN(at.getTime())) continue;
      const text = (at.toDateString() === today ? sameDay : at.getFullYear() === year ? thisYear : otherYear).format(at);
      const ago = now - at;
      // An age of months is a replayed history: there the date says more.
      let shown = time.dataset.form === "age" && ago < 30 * 86400e3 ? (ago < 86400e3 ? age(ago) : `${text} (${age(ago)})`) : text;
      const there = atSite(at);
      if (there && time.dataset.form === "full") shown = `${text} · ${there}`;
      if (time.textContent !== shown) time.textContent = shown;
      if (!time.title) time.title = there ? `${whole.format(at)} · ${there}` : whole.format(at);
    }
  };

  // --- The fleet's filters ----------------------------------------------------------------------------------------------------------
  const filter = { words: "", site: "", kinds: new Set() };

  const applyFilter = () => {
    const body = $("tbody#rows");
    if (!body) return;
    const words = filter.words.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const fits = (!filter.site || row.dataset.site === filter.site) && (!filter.kinds.size || filter.kinds.has(row.dataset.kind))
        && words.every((word) => row.dataset.words.includes(word));
      row.hidden = !fits;
      if (fits) shown += 1;
    }
    for (const tile of $$("[data-filter]")) tile.setAttribute("aria-pressed", String(filter.kinds.has(tile.dataset.filter)));
    $("#shown").textContent = shown === body.rows.length ? "" : `${shown} of ${body.rows.length} shown`;
  };

  const startFilter = () => {
    if (!$("#search")) return;
    $("#search").addEventListener("input", (event) => { filter.words = event.target.value; applyFilter(); });
    $("#site")?.addEventListener("change", (event) => { filter.site = event.target.value; applyFilter(); });
    document.addEventListener("click", (event) => {
      const kind = event.target.closest("[data-filter]")?.dataset.filter;
      if (!kind) return;
      if (!filter.kinds.delete(kind)) filter.kinds.add(kind);
      applyFilter();
    });
    // A browser that goes back keeps what was typed.
    filter.words = $("#search").value;
    filter.site = $("#site")?.value ?? "";
    applyFilter();
  };

  // --- Renewing what is marked data-live, and nothing else: scroll, selection and half-written notes stay -----------------------------
  const served = new WeakMap();
  const remember = (root) => {
    for (const part of $$("[data-live]", root)) {
      served.set(part, part.innerHTML);
      if (part.dataset.live === "rows") for (const row of part.rows) served.set(row, row.outerHTML);
    }
  };

  const renewRows = (body, fresh) => {
    const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
    let place = body.firstElementChild;
    for (const next of [...fresh.rows]) {
      const html = next.outerHTML;
      const old = rows.get(next.dataset.key);
      rows.delete(next.dataset.key);
      if (old && served.get(old) === html) {
        if (old === place) place = place.nextElementSibling;
        else body.insertBefore(old, place);
        continue;
      }
      const row = document.importNode(next, true);
      served.set(row, html);
      body.insertBefore(row, place);
      if (old === place) place = place.nextElementSibling;
      old?.remove();
    }
    for (const gone of rows.values()) gone.remove();
  };

  const isInUse = (part) => {
    const active = document.activeElement;
    if (part.contains(active) && active.matches("input, textarea, select")) return true;
    if ($$("textarea", part).some((area) => area.value)) return true;
    const selection = getSelection();
    return !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  const renew = (fresh) => {
    let changed = false;
    for (const part of $$("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (!next || served.get(part) === next.innerHTML) continue;
      // What is being selected or filled in is renewed later.
      if (isInUse(part)) { setTimeout(refresh, 3000); continue; }
      // The first reading turns the guidance into a table: another page.
      if (part.tagName !== next.tagName) { location.reload(); return; }
      changed = true;
      const html = next.innerHTML;
      if (part.dataset.live === "rows") renewRows(part, next);
      else {
        const open = $$("details[open]", part).length > 0;
        part.replaceChildren(...[...next.childNodes].map((node) => document.importNode(node, true)));
        if (open) for (const details of $$("details", part)) details.open = true;
      }
      served.set(part, html);
      document.dispatchEvent(new CustomEvent("tocsin:renewed", { detail: part }));
    }
    if (changed) { localise(document); applyFilter(); }
  };

  const toSignIn = () => location.assign(`/login?expired=1&next=${encodeURIComponent(location.pathname + location.search)}`);

  let fetching = false;
  let wanted = false;
  let earliest = 0;
  const refresh = async () => {
    if (fetching || document.hidden) { wanted = true; return; }
    const wait = earliest - performance.now();
    // A timer may be early by a part of a millisecond, and then waits once more.
    if (wait > 0) { if (!wanted) { wanted = true; setTimeout(() => { wanted = false; refresh(); }, wait); } return; }
    wanted = false;
    fetching = true;
    const began = performance.now();
    try {
      const answer = await fetch(location.pathname + location.search, { redirect: "manual", headers: { accept: "text/html" } });
      if (answer.type === "opaqueredirect") { toSignIn(); return; }
      if (answer.ok) renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* the event stream says that the connection is lost */ } finally {
      fetching = false;
      // Gentle: a large page is fetched less often, and nothing more than every two seconds.
      earliest = performance.now() + Math.max(2000, 8 * (performance.now() - began));
      if (wanted) { wanted = false; refresh(); }
    }
  };

  // --- The event stream --------------------------------------------------------------------------------------------------------------
  const lamp = $("#live");
  let source = null;
  let lostAt = null;
  let retry = 0;

  const say = (state) => {
    if (state === "live") { lostAt = null; lamp.textContent = "live"; }
    else if (state === "lost") {
      lostAt ??= new Date();
      lamp.textContent = `connection lost since ${sameDay.format(lostAt)}`;
    } else lamp.textContent = "paused";
    lamp.dataset.state = state;
  };

  const disconnect = () => { clearTimeout(retry); source?.close(); source = null; };

  const connect = () => {
    disconnect();
    source = new EventSource($("[data-events]")?.dataset.events ?? "/live");
    source.addEventListener("hello", () => { const again = lostAt !== null; say("live"); if (again) { changed("incidents"); changed("setup"); } });
    source.addEventListener("incidents", () => changed("incidents"));
    source.addEventListener("readings", () => changed("readings"));
    // Of setup the first counts as well: the page is older than the stream.
    source.addEventListener("setup", () => { known.add("setup"); changed("setup"); });
    source.onerror = async () => {
      say("lost");
      if (source?.readyState !== EventSource.CLOSED) return;
      retry = setTimeout(connect, 3000);
      // A session that has ended looks the same as a lost connection: ask.
      const answer = await fetch("/account", { redirect: "manual" }).catch(() => null);
      if (answer?.type === "opaqueredirect") toSignIn();
    };
  };

  // The first number of each counter comes at once and says nothing new.
  const known = new Set();
  const changed = (what) => {
    if (!known.has(what)) { known.add(what); return; }
    refresh();
    document.dispatchEvent(new CustomEvent("tocsin:changed", { detail: what }));
  };

  const startLive = () => {
    if (!lamp) return;
    connect();
    // A hidden tab holds no connection: browsers have few per host.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) { disconnect(); say("paused"); }
      else { connect(); refresh(); document.dispatchEvent(new CustomEvent("tocsin:changed", { detail: "readings" })); }
    });
    addEventListener("pagehide", disconnect);
  };

  // --- Commands to copy: a button that only a script can offer, where the browser lets it write to the clipboard -----------------------
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    try {
      await navigator.clipboard.writeText($("code", button.parentElement).textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it";
    }
  });
  const offerCopies = (root) => {
    if (!navigator.clipboard) return;
    for (const command of $$("pre[data-copy]", root)) {
      if ($("button", command)) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      command.append(button);
    }
  };
  document.addEventListener("tocsin:renewed", (event) => offerCopies(event.detail));

  // --- The theme ---------------------------------------------------------------------------------------------------------------------
  const startTheme = () => $("#theme")?.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = getComputedStyle(root).colorScheme.trim() === "dark";
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("tocsin-theme", root.dataset.theme); } catch { /* for this page only */ }
    document.dispatchEvent(new CustomEvent("tocsin:theme"));
  });

  remember(document);
  localise(document);
  offerCopies(document);
  setInterval(() => localise(document), 5000);
  startTheme();
  startFilter();
  startLive();
})();
