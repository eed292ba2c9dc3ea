// What moves inside a page, whichever renderer made it: exhibits that size themselves, the scoreboard.
(() => {
  "use strict";

  // This file stands in the head: an exhibit may be ready, and tell its height, before the page is.
  // An exhibit posts its height; one that previews the same view as its picture takes the picture's place.
  addEventListener("message", (event) => {
    const height = event.data && Number(event.data.paperKitHeight);
    if (!Number.isFinite(height) || height < 40) return;
    for (const frame of document.querySelectorAll("iframe")) {
      if (frame.contentWindow !== event.source) continue;
      // One that is taller than the screen is shown smaller, down to seven tenths: a part of it out of sight is a part not played with.
      const room = Math.max(innerHeight, 760) * 0.94;
      if (!frame.dataset.scale && height > room && frame.clientWidth > 600) {
        const scale = Math.max(0.7, room / height);
        Object.assign(frame.style, { width: 100 / scale + "%", maxWidth: "none", transformOrigin: "0 0", transform: `scale(${scale})` });
        frame.dataset.scale = scale;
        return;
      }
      frame.style.height = Math.min(Math.ceil(height), 4000) + "px";
      if (frame.dataset.scale) frame.style.marginBottom = -(1 - frame.dataset.scale) * Math.ceil(height) + "px";
      frame.scrolling = "no";
      event.source.postMessage({ paperKitFits: true }, "*");
      const figure = frame.closest("figure.swap");
      if (figure) figure.classList.add("swapped");
    }
  });

  // The scoreboard: sort by a header, narrow by words, wing and state.
  const scoreboard = () => {
    const board = document.querySelector(".scoreboard");
    if (!board) return;
    const table = board.querySelector("table"), body = table.tBodies[0], rows = [...body.rows];
    const wings = JSON.parse(board.dataset.wings || "{}");
    const make = (tag, props, ...children) => { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; };
    const words = make("input", { type: "search", placeholder: "Filter papers" });
    words.setAttribute("aria-label", "Filter papers by words");
    const select = (label, all, pairs) => {
      const e = make("select", {}, make("option", { value: "", textContent: all }), ...pairs.map(([value, textContent]) => make("option", { value, textContent })));
      e.setAttribute("aria-label", label);
      return e;
    };
    const wing = select("Filter by wing", "All wings", Object.entries(wings));
    const states = ["published", "fresh", "stale", "begun", "not begun", "torn"].filter((s) => rows.some((r) => has(r, s)));
    const state = select("Filter by state", "Any state", states.map((s) => [s, s]));
    const shown = make("output", {});
    shown.setAttribute("aria-live", "polite");
    function has(row, s) { const own = row.dataset.state; return own === s || (own.startsWith("published") && own.split(" ").includes(s)); }
    function narrow() {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !(wanted.every((w) => text.includes(w)) && (!wing.value || row.dataset.wing === wing.value) && (!state.value || has(row, state.value)));
        count += !row.hidden;
      }
      shown.textContent = count === rows.length ? `${count} papers` : `${count} of ${rows.length} papers`;
    }
    for (const control of [words, wing, state]) control.addEventListener("input", narrow);
    board.prepend(make("div", { className: "controls" }, words, wing, state, shown));

    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const numeric = head.dataset.kind === "number", now = head.getAttribute("aria-sort");
        const direction = now === "none" ? (numeric ? "descending" : "ascending") : now === "ascending" ? "descending" : "ascending";
        heads.forEach((other) => other.setAttribute("aria-sort", other === head ? direction : "none"));
        const value = (row) => row.cells[column].dataset.sort || "";
        const sign = direction === "ascending" ? 1 : -1;
        const compare = (a, b) => {
          const x = value(a), y = value(b);
          if (x === "" || y === "") return (x === "") - (y === "");   // what has no value stays at the end
          return sign * (numeric ? x - y : x.localeCompare(y)) || rows.indexOf(a) - rows.indexOf(b);
        };
        body.append(...[...rows].sort(compare));
      });
    });
    narrow();
  };
  // A picture opens at its own size; a block that scrolls can be reached with the keys.
  const pictures = () => {
    const dialog = document.createElement("dialog"), image = document.createElement("img");
    dialog.className = "zoom"; document.body.append(dialog);
    dialog.setAttribute("aria-label", "Picture at its own size");
    dialog.addEventListener("click", () => dialog.close());
    for (const picture of document.querySelectorAll("figure.exhibit > img")) {
      picture.tabIndex = 0; picture.setAttribute("role", "button");
      const open = () => { image.src = picture.currentSrc || picture.src; image.alt = picture.alt; dialog.replaceChildren(image); dialog.showModal(); };
      picture.addEventListener("click", open);
      picture.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); } });
    }
    for (const block of document.querySelectorAll("pre, math[display=block]")) block.tabIndex = 0;
  };
  const ready = () => { scoreboard(); pictures(); };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", ready); else ready();
})();
