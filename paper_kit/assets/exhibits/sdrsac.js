(root, data) => {
  const space = root.querySelector(".space"),
    heat = root.querySelector(".heat"),
    said = root.querySelector(".said"),
    box = root.querySelector(".knobs");
  const knobs = [
    ["points in a subset", "n", data.sizes],
    ["pairs kept, m", "m", data.ms],
    ["gamma", "gamma", data.gammas],
    ["points shared", "shared", data.shared],
  ];
  const chosen = {},
    inputs = {};
  let step = 0,
    turn = 0.6,
    tilt = 0.35;
  knobs.forEach(([label, key, values], k) => {
    const l = document.createElement("label"),
      i = document.createElement("input"),
      o = document.createElement("output");
    l.textContent = label;
    l.htmlFor = i.id = "knob-" + k;
    Object.assign(i, { type: "range", min: 0, max: values.length - 1, step: 1, value: values.length - 1 });
    const set = () => {
      chosen[key] = values[+i.value];
      o.textContent = values[+i.value];
    };
    i.oninput = () => {
      set();
      step = 0;
      draw();
    };
    set();
    box.append(l, i, o);
  });
  const button = root.querySelector("button");
  const names = ["Step: the motion of these pairs", "Step: refine by ICP", "Start again"];
  button.onclick = () => {
    step = (step + 1) % 3;
    draw();
  };
  const move = (p, [R, t]) => R.map((r, k) => r[0] * p[0] + r[1] * p[1] + r[2] * p[2] + t[k]);
  const middle = (c) => [0, 1, 2].map((k) => c.reduce((s, p) => s + p[k], 0) / c.length);
  const ms = middle(data.source),
    mt = middle(data.target);
  const near = (p) =>
    data.target.some((q) => (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 + (p[2] - q[2]) ** 2 <= 1e-4);
  const draw = () => {
    const s = data.states.find((x) => knobs.every(([, key]) => x[key] === chosen[key]));
    const g = space.getContext("2d"),
      w = space.width,
      h = space.height;
    g.clearRect(0, 0, w, h);
    const at = (p, c, side) => {
      const x = p[0] - c[0],
        y = p[1] - c[1],
        z = p[2] - c[2];
      const u = Math.cos(turn) * x - Math.sin(turn) * y,
        v = Math.sin(turn) * x + Math.cos(turn) * y;
      return [
        w / 2 + (side * w) / 4 + (step ? 300 : 230) * u,
        h / 2 - (step ? 300 : 230) * (Math.cos(tilt) * z + Math.sin(tilt) * v),
      ];
    };
    const dot = (p, r, colour) => {
      g.fillStyle = colour;
      g.beginPath();
      g.arc(p[0], p[1], r, 0, 7);
      g.fill();
    };
    data.target.forEach((p) => dot(at(p, mt, step ? 0 : 1), 1.6, "#e08a2c"));
    let votes = 0;
    if (step === 0) {
      data.source.forEach((p) => dot(at(p, ms, -1), 1.6, "#3f7fbf"));
      s.i.forEach((k) => dot(at(data.source[k], ms, -1), 4, "#3f7fbf"));
      s.j.forEach((k) => dot(at(data.target[k], mt, 1), 4, "#e08a2c"));
      s.pairs.forEach(([a, b], k) => {
        const p = at(data.source[s.i[a]], ms, -1),
          q = at(data.target[s.j[b]], mt, 1);
        g.strokeStyle = s.true[k] ? "#2e9e5b" : "#cc3344";
        g.lineWidth = 2;
        g.setLineDash(s.true[k] ? [] : [6, 4]);
        g.beginPath();
        g.moveTo(...p);
        g.lineTo(...q);
        g.stroke();
      });
      g.setLineDash([]);
    } else {
      const motion = step === 1 ? s.before : s.after;
      data.source.forEach((p) => {
        const q = move(p, motion),
          hit = near(q);
        votes += hit;
        dot(at(q, mt, 0), hit ? 2.6 : 1.8, hit ? "#2e9e5b" : "#3f7fbf");
      });
    }
    const n = s.X.length,
      c = heat.width / n,
      k = heat.getContext("2d"),
      top = Math.max(...s.X.flat(), 1e-9);
    k.fillStyle = "#ffffff";
    k.fillRect(0, 0, heat.width, heat.height);
    s.X.forEach((row, a) =>
      row.forEach((x, b) => {
        const v = Math.max(0, x) / top;
        k.fillStyle = `rgb(${Math.round(255 - 220 * v)},${Math.round(255 - 170 * v)},${Math.round(255 - 90 * v)})`;
        k.fillRect(b * c, a * c, c - 1, c - 1);
      }),
    );
    s.pairs.forEach(([a, b], i) => {
      k.strokeStyle = s.true[i] ? "#2e9e5b" : "#cc3344";
      k.lineWidth = 2;
      k.strokeRect(b * c + 1, a * c + 1, c - 3, c - 3);
    });
    const right = s.true.filter((x) => x).length;
    said.textContent =
      step === 0
        ? `${s.pairs.length} pairs kept, ${right} of them right`
        : `${step === 1 ? "before" : "after"} ICP: ${s.degrees[step - 1].toFixed(1)} degrees off, ${votes} of ${data.source.length} points vote`;
    button.textContent = names[step];
  };
  let held = null;
  space.onpointerdown = (e) => {
    held = [e.clientX, e.clientY];
    space.setPointerCapture(e.pointerId);
  };
  space.onpointermove = (e) => {
    if (!held) return;
    turn += (e.clientX - held[0]) / 150;
    tilt = Math.max(-1.5, Math.min(1.5, tilt + (e.clientY - held[1]) / 150));
    held = [e.clientX, e.clientY];
    draw();
  };
  space.onpointerup = () => {
    held = null;
  };
  space.onkeydown = (e) => {
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
