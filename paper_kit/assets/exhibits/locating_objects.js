(root, data) => {
  const part = (name) => root.querySelector("#" + name),
    n = data.size,
    zoom = 30,
    W = n * zoom,
    far = Math.hypot(n, n);
  const map = part("map"),
    bars = part("bars");
  map.width = map.height = W;
  bars.width = 320;
  bars.height = 130;
  const pen = map.getContext("2d"),
    chart = bars.getContext("2d");
  let p = data.p.slice(),
    y = data.points.map((q) => q.slice()),
    alpha = 0,
    off = 0,
    held = null,
    ink = 1,
    cursor = [n / 2, n / 2].map(Math.floor);
  const place = (q) => [q[0] + off, q[1] + off],
    dist = (k, q) => Math.hypot(Math.floor(k / n) - q[0], (k % n) - q[1]);
  const look = () => {
    const S = p.reduce((a, b) => a + b, 0) + 1e-6,
      points = y.map(place),
      a = data.alphas[alpha],
      up = new Float64Array(n * n);
    const nearest = p.map((_, k) => Math.min(...points.map((q) => dist(k, q))));
    const first = p.reduce((s, v, k) => s + v * nearest[k], 0) / S;
    for (let k = 0; k < n * n; k++) up[k] = -(nearest[k] - first) / S;
    let second = 0;
    for (const q of points) {
      const d = p.map((_, k) => dist(k, q)),
        f = p.map((v, k) => Math.max(v * d[k] + (1 - v) * far, 1e-9)),
        least = Math.min(...f);
      let M = least;
      if (a === null) {
        const at = f.indexOf(least);
        up[at] -= (d[at] - far) / points.length;
      } else {
        const mean = f.reduce((s, v) => s + (v / least) ** a, 0) / (n * n);
        M = least * mean ** (1 / a);
        for (let k = 0; k < n * n; k++) up[k] -= ((f[k] / M) ** (a - 1) * (d[k] - far)) / (n * n * points.length);
      }
      second += M / points.length;
    }
    const lit = [...p.keys()].filter((k) => p[k] > 0.5);
    let ahd = NaN;
    if (lit.length) {
      const one = lit.reduce((s, k) => s + nearest[k], 0) / lit.length,
        two = points.reduce((s, q) => s + Math.min(...lit.map((k) => dist(k, q))), 0) / points.length;
      ahd = one + two;
    }
    return { first, second, ahd, up };
  };
  const arrow = (x, v, dx, dy) => {
    const l = Math.hypot(dx, dy);
    if (l < 1e-9) return;
    const s = (0.38 * zoom) / l,
      a = x + dx * s,
      b = v + dy * s;
    pen.beginPath();
    pen.moveTo(x - dx * s, v - dy * s);
    pen.lineTo(a, b);
    pen.lineTo(a - s * (0.5 * dx + 0.4 * dy), b - s * (0.5 * dy - 0.4 * dx));
    pen.moveTo(a, b);
    pen.lineTo(a - s * (0.5 * dx - 0.4 * dy), b - s * (0.5 * dy + 0.4 * dx));
    pen.stroke();
  };
  const draw = () => {
    const { first, second, ahd, up } = look();
    for (let k = 0; k < n * n; k++) {
      const t = p[k];
      pen.fillStyle = `rgb(${Math.round(255 - 255 * t)},${Math.round(255 - 141 * t)},${Math.round(255 - 77 * t)})`;
      pen.fillRect((k % n) * zoom, Math.floor(k / n) * zoom, zoom, zoom);
    }
    pen.lineWidth = 1.3;
    pen.strokeStyle = "#6b7280";
    const at = (i, j) => up[Math.max(0, Math.min(n - 1, i)) * n + Math.max(0, Math.min(n - 1, j))];
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        arrow((j + 0.5) * zoom, (i + 0.5) * zoom, at(i, j + 1) - at(i, j - 1), at(i + 1, j) - at(i - 1, j));
    pen.lineWidth = 4;
    pen.strokeStyle = "#d55e00";
    for (const q of y.map(place)) {
      pen.beginPath();
      pen.arc((q[1] + 0.5) * zoom, (q[0] + 0.5) * zoom, 0.55 * zoom, 0, 7);
      pen.stroke();
    }
    if (document.activeElement === map) {
      pen.lineWidth = 2;
      pen.strokeStyle = "#111827";
      pen.strokeRect(cursor[1] * zoom + 1, cursor[0] * zoom + 1, zoom - 2, zoom - 2);
    }
    chart.fillStyle = "#fff";
    chart.fillRect(0, 0, 320, 130);
    chart.font = "14px system-ui, sans-serif";
    [
      ["first term", first, "#0072b2"],
      ["second term", second, "#e69f00"],
      ["AHD", ahd, "#009e73"],
    ].forEach(([name, v, colour], i) => {
      chart.fillStyle = "#1f2933";
      chart.fillText(name, 2, 28 + 40 * i);
      chart.fillText(Number.isFinite(v) ? v.toFixed(2) : "–", 272, 28 + 40 * i);
      chart.fillStyle = colour;
      if (Number.isFinite(v)) chart.fillRect(90, 12 + 40 * i, Math.min(1, v / far) * 175, 22);
    });
    part("says").textContent = `Weighted Hausdorff distance ${(first + second).toFixed(2)} px; longest distance ${far.toFixed(1)}`;
    part("alphaout").textContent = data.alphas[alpha] === null ? "−∞" : "−" + -data.alphas[alpha];
    part("grid").textContent = off ? "Points off the grid" : "Points on the grid";
    part("grid").setAttribute("aria-pressed", off > 0);
  };
  const cell = (event) => {
    const box = map.getBoundingClientRect();
    return [((event.clientY - box.top) / box.height) * n, ((event.clientX - box.left) / box.width) * n].map((v) =>
      Math.max(0, Math.min(n - 1, Math.floor(v))),
    );
  };
  map.onpointerdown = (event) => {
    const c = cell(event),
      ring = y.findIndex((q) => q[0] === c[0] && q[1] === c[1]);
    map.setPointerCapture(event.pointerId);
    cursor = c;
    if (ring >= 0) held = ring;
    else {
      held = -1;
      ink = p[c[0] * n + c[1]] > 0.5 ? 0 : 1;
      p[c[0] * n + c[1]] = ink;
    }
    draw();
  };
  map.onpointermove = (event) => {
    if (held === null) return;
    const c = cell(event);
    if (held >= 0) y[held] = c;
    else p[c[0] * n + c[1]] = ink;
    draw();
  };
  map.onpointerup = map.onpointercancel = () => {
    held = null;
  };
  map.tabIndex = 0;
  map.onfocus = map.onblur = () => draw();
  map.onkeydown = (event) => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (move) cursor = cursor.map((v, i) => Math.max(0, Math.min(n - 1, v + move[i])));
    else if (event.key === " " || event.key === "Enter") {
      const k = cursor[0] * n + cursor[1];
      p[k] = p[k] > 0.5 ? 0 : 1;
    } else return;
    event.preventDefault();
    draw();
  };
  part("alpha").oninput = (event) => {
    alpha = +event.target.value;
    draw();
  };
  part("grid").onclick = () => {
    off = off ? 0 : 0.37;
    draw();
  };
  part("clear").onclick = () => {
    p.fill(0);
    draw();
  };
  part("fill").onclick = () => {
    p.fill(1);
    draw();
  };
  part("down").onclick = () => {
    let left = 60;
    const go = () => {
      const { up } = look(),
        most = Math.max(...up.map(Math.abs), 1e-12);
      p = p.map((v, k) => Math.max(0, Math.min(1, v + (0.08 * up[k]) / (0.2 * most + Math.abs(up[k])))));
      draw();
      if (--left > 0) requestAnimationFrame(go);
    };
    go();
  };
  draw();
}
