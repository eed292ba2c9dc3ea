(root, data) => {
  const c = root.querySelector("canvas"), g = c.getContext("2d"), list = root.querySelector(".pairs"),
      said = root.querySelector(".said");
  const bar = root.querySelector(".step"), W = c.width, H = c.height, key = (u, v) => u + ">" + v;
  let at, edges, chosen = null, pick = -1, dragged = null, moved = false;
  const load = (k) => { at = data.graphs[k].at.map((p) => [p[0]*W, p[1]*H]);
      edges = data.graphs[k].edges.map((e) => [...e]); pick = -1; chosen = null; bar.value = bar.max = 999; draw(); };
  const out = (E, u) => E.filter((e) => e[0] === u).map((e) => e[1]).sort((a, b) => a - b);
  const shortest = (E, a, b) => { const from = new Map([[a, null]]), line = [a];
    while (line.length) { const u = line.shift(); if (u === b) { const p = []; for (let w = b; w !== null;
        w = from.get(w)) p.unshift(w); return p; }
      out(E, u).forEach((v) => { if (!from.has(v)) { from.set(v, u); line.push(v); } }); } return null; };
  const reach = (E, u) => { const s = new Set([u]), line = [u]; while (line.length) out(E,
      line.pop()).forEach((v) => { if (!s.has(v)) { s.add(v); line.push(v); } }); return s; };
  const order = (V, E) => { const left = new Set(V), found = []; while (left.size) { const v = [...left].sort((a,
      b) => a - b).find((w) => !E.some((e) => e[1] === w && left.has(e[0]))); left.delete(v); found.push(v);
      } return found; };
  const dag = (V, E) => { const place = new Map(order(V, E).map((v, k) => [v, k])), above = new Map(V.map((v) => [v,
      new Set([v])])), now = [], found = [];
    [...E].sort((a, b) => place.get(a[1]) - place.get(b[1]) || place.get(a[0]) - place.get(b[0])).forEach(([u,
        v]) => {
      const both = [...above.get(u)].filter((w) => above.get(v).has(w));
      both.sort((a, b) => place.get(a) - place.get(b)).forEach((w) => { if (both.some((x) => x !== w &&
          above.get(x).has(w))) return; found.push([shortest(now, w, v), [...shortest(now, w, u), v], [u, v]]); });
      now.push([u, v]); above.get(u).forEach((w) => above.get(v).add(w)); });
    return found; };
  const strong = (V, E) => { const rootv = Math.min(...V), parent = new Map([[rootv, null]]), cycles = [],
      acyclic = [], line = [];
    const visit = (u) => { line.push(u); out(E, u).forEach((v) => {
      if (!parent.has(v)) { parent.set(v, u); acyclic.push([u, v]); visit(v); }
      else if (line.includes(v)) cycles.push([...line.slice(line.indexOf(v)), v]);
      else acyclic.push([u, v]); }); line.pop(); };
    visit(rootv);
    const turned = [], closed = new Set(); cycles.forEach((k) => { for (let i = 0; i + 1 < k.length; i++) {
        closed.add(key(k[i], k[i+1])); turned.push([...k.slice(i, -1), ...k.slice(0, i + 1)]); } });
    parent.forEach((u, v) => { if (u === null || closed.has(key(u, v))) return; const home = shortest(E, v, u);
        turned.push([...home, v], [u, ...home]); });
    return {parent, pairs: [...turned.map((k) => [k, [k[0]], k.slice(-2)]), ...dag(V, acyclic)]}; };
  const solve = (V, E) => { const R = new Map(V.map((v) => [v, reach(E, v)])), part = new Map(), parts = [];
    V.forEach((v) => { if (part.has(v)) return; const p = V.filter((w) => R.get(v).has(w) && R.get(w).has(v));
        p.forEach((w) => part.set(w, parts.length)); parts.push(p); });
    const inside = parts.map((p) => E.filter((e) => p.includes(e[0]) && p.includes(e[1]))), trees = parts.map((p,
        k) => strong(p, inside[k]));
    const pairs = trees.flatMap((t) => t.pairs), between = new Map();
    E.forEach((e) => { const i = part.get(e[0]), j = part.get(e[1]); if (i !== j) { const k = key(i, j);
        between.set(k, [...(between.get(k) || []), e]); } });
    const arcs = [...between.keys()].map((k) => k.split(">").map(Number));
    const spell = (p) => p.slice(1).reduce((w, j, k) => { const i = p[k], both = E.filter((e) => [...parts[i],
        ...parts[j]].includes(e[0]) && [...parts[i], ...parts[j]].includes(e[1])); return [...w, ...shortest(both,
        parts[i][0], parts[j][0]).slice(1)]; }, [parts[p[0]][0]]);
    dag(parts.map((_, k) => k), arcs).forEach(([p, q]) => pairs.push([spell(p), spell(q), null]));
    between.forEach((list, k) => { const [i, j] = k.split(">").map(Number), tied = [list[0]], rest = list.slice(1);
      while (rest.length) { let best = null; tied.forEach((a) => rest.forEach((b) => { const p = shortest(inside[i],
          a[0], b[0]), q = shortest(inside[j], a[1], b[1]), n = p.length + q.length; if (!best ||
          n < best[0]) best = [n, a, b, p, q]; }));
        const [, a, b, p, q] = best; pairs.push([[...p, b[1]], [a[0], ...q], b]); tied.push(b);
            rest.splice(rest.indexOf(b), 1); } });
    return {parts, part, parent: new Map(trees.flatMap((t) => [...t.parent])), pairs}; };
  const arrow = (u, v, colour, width, bend = 0) => { const [x, y] = at[u], [X, Y] = at[v], d = Math.hypot(X - x,
      Y - y) || 1, nx = (X - x)/d, ny = (Y - y)/d, mx = (x + X)/2 - ny*bend, my = (y + Y)/2 + nx*bend;
    const back = edges.some((e) => e[0] === v && e[1] === u) && !bend ? 12 : bend, cx = (x + X)/2 - ny*back,
        cy = (y + Y)/2 + nx*back, ax = X - cx, ay = Y - cy, l = Math.hypot(ax, ay), tx = X - 16*ax/l,
        ty = Y - 16*ay/l;
    g.strokeStyle = g.fillStyle = colour; g.lineWidth = width; g.beginPath(); g.moveTo(x, y); g.quadraticCurveTo(cx,
        cy, tx, ty); g.stroke();
    g.beginPath(); g.moveTo(tx, ty); g.lineTo(tx - 10*ax/l + 5*ay/l, ty - 10*ay/l - 5*ax/l);
        g.lineTo(tx - 10*ax/l - 5*ay/l, ty - 10*ay/l + 5*ax/l); g.fill(); };
  const tints = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#999999", "#D55E00", "#0072B2"];
  const draw = () => { const V = at.map((_, k) => k), count = edges.length; bar.max = count;
      if (+bar.value > count) bar.value = count;
    const n = +bar.value, E = edges.slice(0, n), s = solve(V, E), now = n < count ? edges[n] : null;
    root.querySelector(".count").textContent = n + " of " + count + " edges";
    g.fillStyle = "#ffffff"; g.fillRect(0, 0, W, H);
    edges.forEach((e, k) => arrow(...e, k < n ? (s.parent.get(e[1]) === e[0] &&
        s.part.get(e[0]) === s.part.get(e[1]) ? "#1f2933" : "#8a97a5") : "#e3e7eb", s.parent.get(e[1]) === e[0] &&
        k < n ? 2.6 : 1.4));
    const pair = chosen !== null && s.pairs[chosen];
    if (pair) [[pair[0], "#0072B2", 9], [pair[1], "#D55E00", -9]].forEach(([p, colour, b]) => p.slice(1).forEach((v,
        k) => arrow(p[k], v, colour, 3.4, b)));
    V.forEach((v) => { const p = s.parts[s.part.get(v)]; g.beginPath(); g.arc(...at[v], 14, 0, 7);
        g.fillStyle = p.length > 1 ? tints[s.part.get(v) % 8] : "#ffffff"; g.fill(); g.lineWidth = v === pick ? 4 :
        1.5; g.strokeStyle = v === pick ? "#D55E00" : "#1f2933"; g.stroke();
      g.fillStyle = "#1f2933"; g.font = "14px sans-serif"; g.textAlign = "center"; g.textBaseline = "middle";
          g.fillText(v, ...at[v]); });
    list.replaceChildren(...s.pairs.map((p, k) => { const b = document.createElement("button"),
        say = (q) => q.length > 1 ? q.join("\u2192") : "\u2205"; b.type = "button"; b.textContent = say(p[0]) +
        "  =  " + say(p[1]); b.setAttribute("aria-pressed", k === chosen); b.onclick = () => {
        chosen = chosen === k ? null : k; draw(); }; return b; }));
    said.textContent = s.pairs.length + " pairs, bound |V||E| = " + V.length*E.length + "; " +
        s.parts.filter((p) => p.length > 1).length + " components with cycles (coloured); tree edges are dark"; };
  const place = (e) => { const r = c.getBoundingClientRect(); return [(e.clientX - r.left)*W/r.width,
      (e.clientY - r.top)*H/r.height]; };
  const near = (p) => at.findIndex((q) => Math.hypot(p[0] - q[0], p[1] - q[1]) < 20);
  c.onpointerdown = (e) => { const p = place(e); dragged = near(p); moved = false; c.setPointerCapture(e.pointerId);
      };
  c.onpointermove = (e) => { if (dragged === null || dragged < 0) return; const p = place(e);
      if (Math.hypot(p[0] - at[dragged][0], p[1] - at[dragged][1]) > 6) moved = true; if (moved) { at[dragged] = p;
      draw(); } };
  c.onpointerup = (e) => { const p = place(e), v = dragged; dragged = null; if (moved) return;
    if (v < 0) { if (at.length < 10) at.push(p); pick = -1; }
    else if (pick < 0) pick = v;
    else { if (pick !== v) { const k = edges.findIndex((d) => d[0] === pick && d[1] === v);
        if (k >= 0) edges.splice(k, 1); else edges.push([pick, v]); chosen = null; bar.max = edges.length;
        bar.value = edges.length; } pick = -1; }
    draw(); };
  bar.oninput = () => { chosen = null; draw(); };
  root.querySelector(".clear").onclick = () => { at = []; edges = []; chosen = null; pick = -1; draw(); };
  const menu = root.querySelector("select"); data.graphs.forEach((q, k) => {
      const o = document.createElement("option"); o.value = k; o.textContent = q.name; menu.append(o); });
  menu.onchange = () => load(+menu.value); load(0);
}
