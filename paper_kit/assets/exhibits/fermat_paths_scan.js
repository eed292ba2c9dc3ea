(root, data) => {
  const c = root.querySelector(".space"),
    p = root.querySelector(".plot"),
    said = root.querySelector(".said"),
    box = root.querySelector(".knobs"),
    W = c.width,
    H = c.height;
  let turn = 0.5,
    tilt = 0.28,
    i = data.side >> 1,
    j = data.side >> 1;
  const colours = ["#0072B2", "#E69F00", "#B5659A", "#009E73"],
    names = ["minimum", "saddle", "maximum", "boundary"];
  const D = 0.5 * data.depth,
    scale = (0.37 * Math.min(W, H)) / Math.max(data.width / 2, D);
  const at = (q) => {
    const x = q[0],
      y = q[1],
      z = q[2] - D,
      u = Math.cos(turn) * x - Math.sin(turn) * z,
      w = Math.sin(turn) * x + Math.cos(turn) * z;
    return [W / 2 + scale * u, H / 2 - scale * (Math.cos(tilt) * y + Math.sin(tilt) * w), w];
  };
  [
    [
      "wall x",
      () => i,
      (n) => {
        i = n;
      },
    ],
    [
      "wall y",
      () => j,
      (n) => {
        j = n;
      },
    ],
  ].forEach(([label, get, set], k) => {
    const l = document.createElement("label"),
      s = document.createElement("input"),
      o = document.createElement("output");
    l.textContent = label;
    l.htmlFor = s.id = "knob-" + k;
    Object.assign(s, { type: "range", min: 0, max: data.side - 1, step: 1, value: get() });
    const show = () => {
      o.textContent = Math.round(data.axis[get()]) + " mm";
    };
    s.oninput = () => {
      set(+s.value);
      show();
      draw();
    };
    show();
    box.append(l, s, o);
  });
  const draw = () => {
    const g = c.getContext("2d"),
      n = i * data.side + j,
      v = [data.axis[i], data.axis[j], 0];
    g.clearRect(0, 0, W, H);
    const dot = (q, r, colour) => {
      g.fillStyle = colour;
      g.beginPath();
      g.arc(q[0], q[1], r, 0, 7);
      g.fill();
    };
    g.strokeStyle = "#c4ccd4";
    g.lineWidth = 1;
    const e = data.width / 2,
      corners = [
        [-e, -e, 0],
        [e, -e, 0],
        [e, e, 0],
        [-e, e, 0],
      ].map(at);
    g.fillStyle = "#eef1f4";
    g.beginPath();
    corners.forEach((q, k) => (k ? g.lineTo(q[0], q[1]) : g.moveTo(q[0], q[1])));
    g.closePath();
    g.fill();
    g.stroke();
    data.surface.map(at).forEach((q) => dot(q, 1.1, "#b9c2cb"));
    data.points.forEach((q) => dot(at(q), 1.7, colours[q[3]]));
    for (let a = 0; a < data.side; a++)
      for (let b = 0; b < data.side; b++) dot(at([data.axis[a], data.axis[b], 0]), 1.2, "#9aa5b1");
    const here = data.found.filter((f) => f[0] === n),
      from = at(v);
    here.forEach((f) => {
      if (f.length < 6) return;
      const to = at(f.slice(3));
      g.strokeStyle = colours[f[2]];
      g.lineWidth = 1.6;
      g.beginPath();
      g.moveTo(from[0], from[1]);
      g.lineTo(to[0], to[1]);
      g.stroke();
      dot(to, 5, colours[f[2]]);
    });
    dot(from, 6, "#D55E00");
    const k = p.getContext("2d"),
      row = data.transients[n],
      top = Math.max(...row, 1),
      X = (t) => 10 + ((p.width - 20) * (t - data.first)) / (data.bin * row.length);
    k.clearRect(0, 0, p.width, p.height);
    k.strokeStyle = "#1f2933";
    k.lineWidth = 1.2;
    k.beginPath();
    row.forEach((y, m) => {
      const q = [X(data.first + (m + 0.5) * data.bin), p.height - 22 - ((p.height - 40) * y) / top];
      m ? k.lineTo(...q) : k.moveTo(...q);
    });
    k.stroke();
    here.forEach((f) => {
      k.strokeStyle = colours[f[2]];
      k.setLineDash([4, 3]);
      k.beginPath();
      k.moveTo(X(f[1]), 8);
      k.lineTo(X(f[1]), p.height - 22);
      k.stroke();
      k.setLineDash([]);
    });
    k.fillStyle = "#1f2933";
    k.font = "12px sans-serif";
    k.fillText("counts at v over path length (mm)", 12, 12);
    k.fillText(Math.round(data.first), 8, p.height - 6);
    k.fillText(Math.round(data.first + data.bin * row.length), p.width - 40, p.height - 6);
    said.textContent = here.length
      ? here
          .map((f) => names[f[2]] + " at " + f[1].toFixed(0) + " mm" + (f.length < 6 ? " (no point)" : ""))
          .join(", ")
      : "nothing detected here";
  };
  let held = null;
  c.onpointerdown = (e) => {
    held = [e.clientX, e.clientY];
    c.setPointerCapture(e.pointerId);
  };
  c.onpointermove = (e) => {
    if (!held) return;
    turn += (e.clientX - held[0]) / 150;
    tilt = Math.max(-1.5, Math.min(1.5, tilt + (e.clientY - held[1]) / 150));
    held = [e.clientX, e.clientY];
    draw();
  };
  c.onpointerup = () => {
    held = null;
  };
  c.onkeydown = (e) => {
    const d = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, 0.15], ArrowDown: [0, -0.15] }[
      e.key
    ];
    if (!d) return;
    e.preventDefault();
    turn += d[0];
    tilt += d[1];
    draw();
  };
  draw();
}
