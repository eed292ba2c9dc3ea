(root, data) => {
  const c = root.querySelector("canvas"),
    g = c.getContext("2d"),
    said = root.querySelector(".said"),
    box = root.querySelector(".knobs");
  const state = { v: -20, bend: 1, shine: 0 },
    W = c.width,
    H = c.height;
  [
    ["wall point v (mm)", "v", -100, 100, 1],
    ["bend of the hidden curve", "bend", 0, 2, 0.05],
    ["shine", "shine", 0, 1, 0.05],
  ].forEach(([label, key, low, high, step], k) => {
    const l = document.createElement("label"),
      i = document.createElement("input"),
      o = document.createElement("output");
    l.textContent = label;
    l.htmlFor = i.id = "knob-" + k;
    Object.assign(i, { type: "range", min: low, max: high, step, value: state[key] });
    i.oninput = () => {
      state[key] = +i.value;
      o.textContent = i.value;
      draw();
    };
    o.textContent = i.value;
    box.append(l, i, o);
  });
  const N = 1200,
    colours = { minimum: "#0072B2", maximum: "#B5659A", boundary: "#009E73" };
  const curve = () =>
    Array.from({ length: N }, (_, k) => {
      const s = k / (N - 1);
      return [-110 + 230 * s, 200 - 24 * Math.sin(2 * Math.PI * s * 1.15 + 0.4) * state.bend - 20 * s];
    });
  const draw = () => {
    const x = curve(),
      v = state.v,
      t = x.map((p) => 2 * Math.hypot(p[0] - v, p[1])),
      first = 240,
      width = 1.0,
      bins = 340,
      I = new Float64Array(bins);
    for (let k = 0; k + 1 < N; k++) {
      const a = Math.min(t[k], t[k + 1]),
        b = Math.max(t[k], t[k + 1]),
        dx = x[k + 1][0] - x[k][0],
        dy = x[k + 1][1] - x[k][1],
        l = Math.hypot(dx, dy),
        mx = (x[k][0] + x[k + 1][0]) / 2 - v,
        my = (x[k][1] + x[k + 1][1]) / 2,
        r = Math.hypot(mx, my);
      const cosine = Math.abs(dx * my - dy * mx) / (l * r),
        w = (l / r / r) * (1 - state.shine + state.shine * 8 * Math.max(2 * cosine * cosine - 1, 0) ** 16);
      let n = Math.max(0, Math.floor((a - first) / width));
      while (n < bins && first + n * width < b) {
        const p = Math.max(a, first + n * width),
          q = Math.min(b, first + (n + 1) * width);
        I[n] += b - a > 1e-12 ? (w * (q - p)) / (b - a) : w;
        n++;
      }
    }
    const found = [
      [t[0], "boundary", 0],
      [t[N - 1], "boundary", N - 1],
    ];
    for (let k = 1; k + 1 < N; k++)
      if (t[k] < t[k - 1] === t[k] <= t[k + 1])
        found.push([t[k], t[k] < t[k - 1] ? "minimum" : "maximum", k]);
    found.sort((a, b) => a[0] - b[0]);
    g.clearRect(0, 0, W, H);
    g.font = "13px sans-serif";
    g.lineWidth = 1.5;
    const A = (p) => [170 + 1.15 * p[0], H - 30 - 1.15 * p[1]],
      line = (points, colour, dash = []) => {
        g.strokeStyle = colour;
        g.setLineDash(dash);
        g.beginPath();
        points.forEach((p, k) => (k ? g.lineTo(...p) : g.moveTo(...p)));
        g.stroke();
        g.setLineDash([]);
      };
    line([A([-145, 0]), A([145, 0])], "#9aa5b1");
    line(x.map(A), "#1f2933");
    const low = Math.min(...t) - 8,
      high = Math.max(...t) + 8;
    const B = (k, tau) => [370 + (190 * k) / (N - 1), 20 + ((H - 50) * (high - tau)) / (high - low)],
      C = (tau, y) => [610 + (230 * (tau - low)) / (high - low), H - 30 - (H - 60) * y];
    line(
      t.map((y, k) => B(k, y)),
      "#1f2933",
    );
    const top = Math.max(...I);
    line(
      Array.from(I, (y, k) => [first + (k + 0.5) * width, y / top])
        .filter((p) => p[0] > low && p[0] < high)
        .map((p) => C(...p)),
      "#1f2933",
    );
    const dot = (p, colour, r = 5) => {
      g.fillStyle = colour;
      g.beginPath();
      g.arc(p[0], p[1], r, 0, 7);
      g.fill();
    };
    found.forEach(([tau, kind, k]) => {
      const colour = colours[kind],
        arc = [];
      for (let a = 0.28 * Math.PI; a < 0.72 * Math.PI; a += 0.02)
        arc.push(A([v + (tau / 2) * Math.cos(a), (tau / 2) * Math.sin(a)]));
      line(arc, colour, [5, 4]);
      line([A([v, 0]), A(x[k])], colour + "66");
      dot(A(x[k]), colour);
      line([B(0, tau), B(N - 1, tau)], colour, [4, 4]);
      dot(B(k, tau), colour);
      line([C(tau, 0), C(tau, 1)], colour, [4, 4]);
    });
    dot(A([v, 0]), "#D55E00", 6);
    g.fillStyle = "#1f2933";
    g.fillText("hidden curve, tangent circles", 40, 14);
    g.fillText("path length along it", 370, 14);
    g.fillText("transient", 610, 14);
    g.fillText("path length (mm)", 680, H - 8);
    Object.entries(colours).forEach(([name, colour], k) => {
      g.fillStyle = colour;
      g.fillText(name, 40 + 90 * k, H - 8);
    });
    said.textContent = found.map(([tau, kind]) => kind + " " + tau.toFixed(1) + " mm").join(", ");
  };
  c.onpointermove = (e) => {
    if (!e.buttons) return;
    const r = c.getBoundingClientRect(),
      p = (((e.clientX - r.left) * W) / r.width - 170) / 1.15;
    if (p > -150 && p < 150) {
      state.v = Math.max(-100, Math.min(100, Math.round(p)));
      const i = box.querySelector("input");
      i.value = state.v;
      i.oninput();
    }
  };
  draw();
}
