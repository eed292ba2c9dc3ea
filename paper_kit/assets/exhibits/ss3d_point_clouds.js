(root, d) => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),
    places = (text) => Float32Array.from(bytes(text), (b) => (b / 255 - 0.5) * 1.4);
  d.images = d.images.map(bytes);
  d.truecolors = d.truecolors.map(bytes);
  d.true = d.true.map(places);
  for (const m of Object.values(d.methods)) {
    m.colors = m.colors.map(bytes);
    m.points = m.points.map((x) => x.map(places));
  }
  const S = d.size,
    state = { i: 0, m: Object.keys(d.methods)[0], index: false },
    $ = (q) => root.querySelector(q);
  const panes = {};
  for (const [key, title] of [
    ["input", "input image"],
    ["cloud", "predicted cloud"],
    ["true", "true cloud"],
    ["mask", "soft silhouette"],
    ["color", "colour projection"],
    ["dial", "azimuths: true, predicted"],
  ]) {
    const f = document.createElement("figure");
    f.style.margin = 0;
    const c = document.createElement("canvas");
    c.width = c.height = 240;
    c.style.cssText = "width:100%;border:1px solid var(--line);border-radius:6px;touch-action:none";
    c.setAttribute("role", "img");
    c.setAttribute("aria-label", title);
    const t = document.createElement("figcaption");
    t.textContent = title;
    t.className = "hint";
    f.append(c, t);
    $("#panes").append(f);
    panes[key] = c;
  }
  const button = (text, group, on) => {
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = text;
    b.dataset.group = group;
    b.onclick = () => {
      on();
      draw();
    };
    $("#choose").append(b);
    return b;
  };
  const cars = [...Array(d.count).keys()].map((i) => [
    button("car " + (i + 1), "i", () => {
      state.i = i;
    }),
    () => state.i === i,
  ]);
  const ways = Object.keys(d.methods).map((m) => [
    button(d.names[m], "m", () => {
      state.m = m;
    }),
    () => state.m === m,
  ]);
  ways.push([
    button("colour by index", "x", () => {
      state.index = !state.index;
    }),
    () => state.index,
  ]);
  for (const m of Object.values(d.methods)) {
    // one colour an index: where its point lies on average over the images shown
    const last = m.points[m.points.length - 1],
      n = last[0].length,
      mean = last[0].map((_, j) => last.reduce((t, p) => t + p[j], 0) / last.length);
    const low = [0, 1, 2].map((a) => Math.min(...mean.filter((_, j) => j % 3 === a))),
      high = [0, 1, 2].map((a) => Math.max(...mean.filter((_, j) => j % 3 === a)));
    m.byindex = Uint8Array.from(
      mean,
      (x, j) => 20 + (215 * (x - low[j % 3])) / Math.max(1e-6, high[j % 3] - low[j % 3]),
    );
  }
  const az = $("#az"),
    el = $("#el"),
    st = $("#st");
  st.max = Math.max(...Object.values(d.methods).map((m) => m.steps.length)) - 1;
  st.value = st.max;
  function camera(p) {
    const a = (az.value * Math.PI) / 180,
      e = (el.value * Math.PI) / 180,
      n = p.length / 3,
      out = [];
    const f = [-Math.cos(e) * Math.cos(a), -Math.cos(e) * Math.sin(a), -Math.sin(e)],
      r = [-Math.sin(a), Math.cos(a), 0];
    const w = [f[1] * r[2] - f[2] * r[1], f[2] * r[0] - f[0] * r[2], f[0] * r[1] - f[1] * r[0]];
    for (let k = 0; k < n; k++) {
      const x = p[3 * k],
        y = p[3 * k + 1],
        z = p[3 * k + 2],
        depth = 2 + x * f[0] + y * f[1] + z * f[2];
      out.push([
        (1.875 * (x * r[0] + y * r[1] + z * r[2])) / depth + 0.5,
        (1.875 * (x * w[0] + y * w[1] + z * w[2])) / depth + 0.5,
        depth,
      ]);
    }
    return out;
  }
  function cloud(canvas, p, c) {
    const g = canvas.getContext("2d"),
      W = canvas.width,
      q = camera(p),
      order = q.map((_, k) => k).sort((a, b) => q[b][2] - q[a][2]);
    g.fillStyle = "#fff";
    g.fillRect(0, 0, W, W);
    for (const k of order) {
      const s = 1 - 0.3 * Math.max(0, Math.min(1, (q[k][2] - 1.6) / 0.8));
      g.fillStyle = "rgb(" + [0, 1, 2].map((j) => Math.round(s * c[3 * k + j])).join(",") + ")";
      g.beginPath();
      g.arc(q[k][0] * W, q[k][1] * W, 8 / q[k][2], 0, 7);
      g.fill();
    }
  }
  function raster(canvas, values) {
    const small = document.createElement("canvas");
    small.width = small.height = S;
    const image = new ImageData(S, S);
    image.data.set(values);
    small.getContext("2d").putImageData(image, 0, 0);
    const g = canvas.getContext("2d");
    g.imageSmoothingEnabled = false;
    g.drawImage(small, 0, 0, canvas.width, canvas.height);
  }
  function project(p, c) {
    const q = camera(p),
      n = q.length,
      rows = new Float64Array(S * n),
      columns = new Float64Array(S * n);
    let best = -Infinity;
    const score = q.map((v) => {
      const s = 100 / (v[2] + 1);
      best = Math.max(best, s);
      return s;
    });
    for (let k = 0; k < n; k++)
      for (let i = 0; i < S; i++) {
        rows[i * n + k] = Math.exp(-((q[k][1] * S - i - 0.5) ** 2) / 0.8);
        columns[i * n + k] = Math.exp(-((q[k][0] * S - i - 0.5) ** 2) / 0.8);
      }
    const mask = new Uint8ClampedArray(4 * S * S),
      color = new Uint8ClampedArray(4 * S * S),
      sums = new Float64Array(4 * S * S);
    for (let i = 0; i < S; i++)
      for (let j = 0; j < S; j++) {
        let t = 0;
        for (let k = 0; k < n; k++) t += rows[i * n + k] * columns[j * n + k];
        const m = 255 * Math.tanh(t),
          at = 4 * (i * S + j);
        mask[at] = mask[at + 1] = mask[at + 2] = m;
        mask[at + 3] = 255;
      }
    for (let k = 0; k < n; k++) {
      const w = Math.exp(score[k] - best),
        x = q[k][0] * S - 0.5,
        y = q[k][1] * S - 0.5;
      for (let i = Math.max(0, Math.ceil(y - 1)); i <= Math.min(S - 1, Math.floor(y + 1)); i++)
        for (let j = Math.max(0, Math.ceil(x - 1)); j <= Math.min(S - 1, Math.floor(x + 1)); j++) {
          const at = 4 * (i * S + j);
          for (let h = 0; h < 3; h++) sums[at + h] += w * c[3 * k + h];
          sums[at + 3] += w;
        }
    }
    for (let a = 0; a < S * S; a++) {
      for (let h = 0; h < 3; h++)
        color[4 * a + h] = sums[4 * a + 3] > 0 ? sums[4 * a + h] / sums[4 * a + 3] : 0;
      color[4 * a + 3] = 255;
    }
    raster(panes.mask, mask);
    raster(panes.color, color);
  }
  function dial() {
    const canvas = panes.dial,
      g = canvas.getContext("2d"),
      W = canvas.width,
      found = d.methods[state.m].azimuth;
    g.fillStyle = "#fff";
    g.fillRect(0, 0, W, W);
    const put = (a, r, color, size) => {
      g.fillStyle = color;
      g.beginPath();
      g.arc(W / 2 + r * Math.cos((a * Math.PI) / 180), W / 2 - r * Math.sin((a * Math.PI) / 180), size, 0, 7);
      g.fill();
    };
    g.strokeStyle = "#cbd2d9";
    for (const r of [60, 95]) {
      g.beginPath();
      g.arc(W / 2, W / 2, r, 0, 7);
      g.stroke();
    }
    d.trueview.forEach((v, k) => put(v[0], 60, k === state.i ? "#000" : "#0072b2", k === state.i ? 6 : 3.5));
    if (found)
      found.forEach((a, k) => put(a, 95, k === state.i ? "#000" : "#d55e00", k === state.i ? 6 : 3.5));
    g.fillStyle = "#1f2933";
    g.font = "13px system-ui";
    g.textAlign = "center";
    g.fillText(found ? "" : "no pose network", W / 2, W / 2);
  }
  function draw() {
    const m = d.methods[state.m],
      image = d.images[state.i],
      values = new Uint8ClampedArray(4 * S * S);
    for (let a = 0; a < S * S; a++) {
      for (let h = 0; h < 3; h++) values[4 * a + h] = image[3 * a + h];
      values[4 * a + 3] = 255;
    }
    const at = Math.max(0, m.steps.length - 1 - (st.max - st.value)),
      points = m.points[at][state.i],
      colors = state.index ? m.byindex : m.colors[state.i];
    $("#sto").textContent = m.steps[at];
    raster(panes.input, values);
    cloud(panes.cloud, points, colors);
    cloud(panes.true, d.true[state.i], d.truecolors[state.i]);
    project(points, colors);
    dial();
    $("#azo").textContent = az.value + "°";
    $("#elo").textContent = el.value + "°";
    for (const [b, on] of [...cars, ...ways]) {
      b.style.background = on() ? "#0072b2" : "";
      b.style.color = on() ? "#fff" : "";
      b.setAttribute("aria-pressed", on());
    }
  }
  az.oninput = el.oninput = st.oninput = draw;
  for (const c of [panes.cloud, panes.true]) {
    let last = null;
    c.style.cursor = "grab";
    c.onpointerdown = (e) => {
      last = [e.clientX, e.clientY];
      c.setPointerCapture(e.pointerId);
    };
    c.onpointerup = () => {
      last = null;
    };
    c.onpointermove = (e) => {
      if (!last) return;
      az.value = ((+az.value - (e.clientX - last[0]) + 540) % 360) - 180;
      el.value = +el.value + (e.clientY - last[1]) / 2;
      last = [e.clientX, e.clientY];
      draw();
    };
  }
  az.value = d.trueview[0][0];
  el.value = d.trueview[0][1];
  draw();
};
