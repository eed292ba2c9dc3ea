// The frame around a page: theme, menu, contents, folds, copy buttons, search. Nothing is loaded from anywhere else.
(() => {
  "use strict";
  const root = document.documentElement, up = document.body.dataset.up || "";
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Theme, remembered.
  const themeButton = one(".theme-button");
  const showTheme = () => themeButton.setAttribute("aria-pressed", String(root.dataset.theme === "dark"));
  themeButton.addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("paper-kit-theme", root.dataset.theme); } catch (e) { /* private window: not remembered */ }
    showTheme();
  });
  showTheme();

  // Menu on a narrow screen; the current page in view.
  const menuButton = one(".menu-button"), sidebar = one(".sidebar");
  const openMenu = (open) => { sidebar.classList.toggle("open", open); menuButton.setAttribute("aria-expanded", String(open)); document.body.style.overflow = open ? "hidden" : ""; };
  menuButton.addEventListener("click", () => openMenu(!sidebar.classList.contains("open")));
  addEventListener("keydown", (event) => { if (event.key === "Escape" && sidebar.classList.contains("open")) { openMenu(false); menuButton.focus(); } });
  const current = one('[aria-current="page"]', sidebar);
  if (current && current.offsetTop > sidebar.clientHeight * 0.7) sidebar.scrollTop = current.offsetTop - sidebar.clientHeight / 2;

  // Contents: mark the section being read.
  const links = new Map(all(".toc a").map((a) => [decodeURIComponent(a.hash.slice(1)), a]));
  const heads = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
  if (heads.length) {
    let queued = false;
    const follow = () => {
      queued = false;
      const here = heads.filter((h) => h.getBoundingClientRect().top < innerHeight * 0.25).pop() || heads[0];
      links.forEach((a, id) => a.classList.toggle("here", id === here.id));
    };
    addEventListener("scroll", () => { if (!queued) { queued = true; requestAnimationFrame(follow); } }, { passive: true });
    follow();
  }

  // The contents can be folded at every width; where there is room they start open.
  const contentsFold = one(".toc details"), roomy = matchMedia("(min-width: 80.01rem)");
  const fit = () => { if (contentsFold) contentsFold.open = roomy.matches; };
  fit(); roomy.addEventListener("change", fit);
  all(".toc a").forEach((a) => a.addEventListener("click", () => { if (!roomy.matches) contentsFold.open = false; }));

  // A link into a folded part opens it. Exhibits above may still grow for a moment: until the reader moves, stay at the target.
  let staying = 0;
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    target.scrollIntoView();
  };
  const arrive = () => { staying = performance.now() + 4000; unfold(); };
  const stay = () => { if (performance.now() < staying) unfold(); };
  for (const moved of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(moved, () => { staying = 0; }, { passive: true, capture: true });
  addEventListener("message", stay);
  document.addEventListener("load", stay, true);
  addEventListener("hashchange", arrive);
  arrive();

  // Fold or open all code of the page.
  const folds = all("details.code-fold, details.part"), ways = one(".ways-out");
  if (folds.length > 2 && ways) {
    const button = document.createElement("button");
    button.type = "button"; button.className = "fold-all";
    const label = () => { button.textContent = folds.some((d) => d.open) ? "Fold it all" : "Open it all"; };
    button.addEventListener("click", () => { const open = !folds.some((d) => d.open); folds.forEach((d) => { d.open = open; }); label(); });
    folds.forEach((d) => d.addEventListener("toggle", label));
    label();
    ways.append(button);
  }

  // Copy buttons.
  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch (e) { /* no clipboard on file:// in some browsers */ }
    const area = Object.assign(document.createElement("textarea"), { value: text });
    area.style.cssText = "position:fixed;opacity:0";
    document.body.append(area); area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  for (const pre of all("div.sourceCode > pre, pre.shell, article > pre:not(.output)")) {
    let box = pre.parentElement;
    if (!box.classList.contains("sourceCode")) { box = document.createElement("div"); box.className = "copyable"; pre.replaceWith(box); box.append(pre); }
    const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "Copy" });
    button.setAttribute("aria-label", "Copy this code");
    button.addEventListener("click", async () => {
      const done = await copy(pre.textContent.replace(/\n$/, ""));
      button.textContent = done ? "Copied" : "Press Ctrl-C"; button.classList.add("done");
      setTimeout(() => { button.textContent = "Copy"; button.classList.remove("done"); }, 1600);
    });
    box.append(button);
  }

  // Search: the index is a script that assigns a variable, because a page from the disk may not fetch a file.
  const dialog = one("dialog.search"), input = one("input", dialog), list = one("#search-results"), note = one(".search-note", dialog);
  let index = null, chosen = -1;
  const load = () => new Promise((resolve, reject) => {
    if (window.paperKitSearch) return resolve();
    const script = document.createElement("script");
    script.src = up + "search.js"; script.onload = resolve; script.onerror = reject;
    document.head.append(script);
  });
  const fold = (s) => s.toLowerCase().normalize("NFD").replace(/[\u0300-\u036f]/g, "");
  async function open() {
    if (dialog.open) return;
    dialog.showModal(); input.select();
    if (index) return;
    note.textContent = "Loading the index";
    try {
      await load();
      index = window.paperKitSearch.map((r) => ({ ...r, ft: fold(r.t), fh: fold(r.h), fx: fold(r.x), fk: fold(r.k || "") }));
      note.textContent = "";
    } catch (e) { note.textContent = "The search index search.js is missing: build the site again."; return; }
    find();
  }
  const starts = (word) => new RegExp("(^|[^\\p{L}\\p{N}])" + word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gu");
  function score(record, tests) {
    let total = 0;
    for (const test of tests) {
      const at = (text) => { test.lastIndex = 0; return test.test(text); };
      const inText = (record.fx.match(test) || []).length;
      const points = (record.fk && at(record.fk) ? 80 : 0) + (at(record.ft) ? (record.h ? 4 : 30) : 0) + (at(record.fh) ? 12 : 0) + Math.min(inText, 5);
      if (!points) return 0;
      total += points;
    }
    return total + (record.p ? 40 : 0);
  }
  const escaped = (s) => s.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" }[c]));
  function marked(text, words) {
    const spot = new RegExp("(" + words.map((w) => w.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|") + ")", "gi");
    return escaped(text).replace(spot, "<mark>$1</mark>");
  }
  function snippet(record, words) {
    const spots = words.map((w) => record.fx.search(starts(w))).filter((i) => i >= 0);
    const from = Math.max(0, (spots.length ? Math.min(...spots) : 0) - 50);
    const text = record.x.slice(from, from + 190);
    return (from ? "… " : "") + marked(text, words) + (from + 190 < record.x.length ? " …" : "");
  }
  function find() {
    list.replaceChildren(); choose(-1);
    const words = fold(input.value).split(/\s+/).filter(Boolean);
    input.setAttribute("aria-expanded", String(words.length > 0));
    if (!index || !words.length) { note.textContent = index ? "" : note.textContent; return; }
    const tests = words.map(starts);
    const hits = index.map((r) => [score(r, tests), r]).filter(([s]) => s).sort((a, b) => b[0] - a[0]);
    note.textContent = hits.length ? "" : `Nothing found for “${input.value.trim()}”.`;
    hits.slice(0, 24).forEach(([, r], i) => {
      const item = document.createElement("li");
      item.id = "search-" + i; item.setAttribute("role", "option");
      item.innerHTML = `<a tabindex="-1"><b>${marked(r.t, words)}</b>${r.h ? ` <span class="part">› ${marked(r.h, words)}</span>` : ""}<p>${snippet(r, words)}</p></a>`;
      one("a", item).href = up + r.u;
      item.addEventListener("mousemove", () => choose(i));
      item.addEventListener("click", () => dialog.close());
      list.append(item);
    });
    if (hits.length) choose(0);
  }
  function choose(i) {
    chosen = i;
    all("li", list).forEach((item, j) => { item.setAttribute("aria-selected", String(j === i)); if (j === i) item.scrollIntoView({ block: "nearest" }); });
    if (i >= 0) input.setAttribute("aria-activedescendant", "search-" + i); else input.removeAttribute("aria-activedescendant");
  }
  input.addEventListener("input", find);
  input.addEventListener("keydown", (event) => {
    const count = list.children.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (count) choose((chosen + (event.key === "ArrowDown" ? 1 : count - 1) + (chosen < 0 && event.key === "ArrowUp" ? 1 : 0)) % count);
    } else if (event.key === "Escape") {
      event.preventDefault();   // the browser would only empty the field
      dialog.close();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const link = list.children[chosen] && one("a", list.children[chosen]);
      if (link) link.click();
    }
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  one(".search-button").addEventListener("click", open);
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    if ((event.key === "/" && !typing) || (event.key === "k" && (event.ctrlKey || event.metaKey))) { event.preventDefault(); open(); }
  });
})();
