// Nine sliders mix a probe and a gallery image; the embedding runs here, in eight bits. Called with (root, data).
(root, data) => {
  const part = (name) => root.querySelector("#" + name),
    bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),
    floats = (text) => new Float32Array(bytes(text).buffer);
  const S = data.size,
    area = S * S,
    grid = data.cuts.length - 1,
    colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];
  const probes = bytes(data.probe),
    others = bytes(data.gallery),
    coded = bytes(data.queries);
  const layers = data.layers.map((l) => {
    const q = new Int8Array(bytes(l.q).buffer),
      unit = floats(l.unit),
      each = l.i * 9;
    return { o: l.o, i: l.i, b: floats(l.b), w: Float32Array.from(q, (v, k) => v * unit[Math.floor(k / each)]) };
  });
  const line = Array.from({ length: S }, (_, k) => data.cuts.findIndex((c, q) => q && k < c) - 1);
  const state = { c: 0, k: 0, w: [...data.w[0][0]] };
  // Convolution of 3 x 3, ReLU, maximum of 2 x 2. x: {v, c, n}, channels first, n pixels a side.
  const block = (x, l) => {
    const n = x.n,
      out = new Float32Array(l.o * n * n),
      half = n >> 1,
      small = new Float32Array(l.o * half * half);
    for (let o = 0; o < l.o; o++) {
      const to = o * n * n;
      out.fill(l.b[o], to, to + n * n);
      for (let c = 0; c < l.i; c++)
        for (let ky = 0; ky < 3; ky++)
          for (let kx = 0; kx < 3; kx++) {
            const weight = l.w[((o * l.i + c) * 3 + ky) * 3 + kx],
              y0 = ky === 0 ? 1 : 0,
              y1 = ky === 2 ? n - 1 : n,
              x0 = kx === 0 ? 1 : 0,
              x1 = kx === 2 ? n - 1 : n;
            for (let y = y0; y < y1; y++) {
              const at = c * n * n + (y + ky - 1) * n + kx - 1;
              for (let i = x0; i < x1; i++) out[to + y * n + i] += weight * x.v[at + i];
            }
          }
      for (let y = 0; y < half; y++)
        for (let i = 0; i < half; i++) {
          const at = to + 2 * y * n + 2 * i;
          small[o * half * half + y * half + i] = Math.max(0, out[at], out[at + 1], out[at + n], out[at + n + 1]);
        }
    }
    return { v: small, c: l.o, n: half };
  };
  const embed = (picture) => {
    let x = { v: picture, c: 3, n: S };
    for (const l of layers) x = block(x, l);
    const each = x.n * x.n;
    return Array.from({ length: x.c }, (_, c) => {
      let sum = 0;
      for (let k = 0; k < each; k++) sum += x.v[c * each + k];
      return sum / each;
    });
  };
  const planes = (source, number) => {
    const out = new Float32Array(3 * area);
    for (let k = 0; k < area; k++) for (let c = 0; c < 3; c++) out[c * area + k] = source[number * 3 * area + 3 * k + c] / 64 - 2;
    return out;
  };
  const probe = Array.from({ length: data.ways }, (_, c) => planes(probes, c)),
    real = probe.map(embed),
    partner = (c, k) => planes(others, c * 4 + k);
  const queries = Array.from({ length: data.ways * data.each }, (_, k) =>
    Array.from({ length: data.features }, (_, d) => (coded[k * data.features + d] / 255) * data.top),
  );
  const away = (a, b) => Math.sqrt(a.reduce((s, v, d) => s + (v - b[d]) ** 2, 0));
  const shares = (f, centres) => {
    const d = centres.map((p) => Math.exp(-away(f, p))),
      sum = d.reduce((s, v) => s + v, 0);
    return d.map((v) => v / sum);
  };
  const right = (centres) =>
    queries.filter((f, k) => {
      const d = centres.map((p) => away(f, p));
      return d.indexOf(Math.min(...d)) === Math.floor(k / data.each);
    }).length;
  const paint = (canvas, v) => {
    const cells = new ImageData(S, S);
    for (let k = 0; k < area; k++) {
      for (let c = 0; c < 3; c++) cells.data[4 * k + c] = Math.max(0, Math.min(255, (v[c * area + k] + 2) * 64));
      cells.data[4 * k + 3] = 255;
    }
    canvas.width = canvas.height = S;
    canvas.getContext("2d").putImageData(cells, 0, 0);
  };
  const thumbs = (box, word, count, act) => {
    const label = document.createElement("span");
    label.textContent = word;
    part(box).append(label);
    return Array.from({ length: count }, (_, k) => {
      const c = document.createElement("canvas");
      c.tabIndex = 0;
      c.setAttribute("role", "button");
      c.setAttribute("aria-label", `${word} ${k + 1}`);
      c.onclick = () => act(k);
      c.onkeydown = (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          act(k);
        }
      };
      part(box).append(c);
      return c;
    });
  };
  const start = () => {
    state.w = [...data.w[state.c][state.k]];
    show();
  };
  const first = thumbs("probes", "probe", data.ways, (c) => {
    state.c = c;
    start();
  });
  const second = thumbs("others", "gallery", 4, (k) => {
    state.k = k;
    start();
  });
  const inputs = Array.from({ length: grid * grid }, (_, q) => {
    const label = document.createElement("label"),
      text = document.createElement("span"),
      input = document.createElement("input");
    Object.assign(input, { type: "range", min: -1, max: 2, step: 0.05 });
    input.setAttribute("aria-label", `weight of patch ${q + 1}`);
    input.oninput = () => {
      state.w[q] = +input.value;
      show();
    };
    label.append(text, input);
    part("sliders").append(label);
    return { input, text };
  });
  const bars = Array.from({ length: data.ways }, (_, c) => {
    const name = document.createElement("span"),
      track = document.createElement("div"),
      bar = document.createElement("i"),
      value = document.createElement("span");
    name.textContent = `class ${c + 1}`;
    track.append(bar);
    part("bars").append(name, track, value);
    return { bar, value };
  });
  const show = () => {
    const a = probe[state.c],
      b = partner(state.c, state.k),
      mixed = new Float32Array(3 * area);
    for (let y = 0; y < S; y++)
      for (let x = 0; x < S; x++) {
        const w = state.w[line[y] * grid + line[x]];
        for (let c = 0; c < 3; c++) {
          const k = c * area + y * S + x;
          mixed[k] = w * a[k] + (1 - w) * b[k];
        }
      }
    paint(part("mixed"), mixed);
    first.forEach((c, k) => {
      paint(c, probe[k]);
      c.setAttribute("aria-pressed", k === state.c);
    });
    second.forEach((c, k) => {
      paint(c, partner(state.c, k));
      c.setAttribute("aria-pressed", k === state.k);
    });
    inputs.forEach(({ input, text }, q) => {
      input.value = state.w[q];
      text.textContent = state.w[q].toFixed(2);
    });
    const f = embed(mixed),
      joined = real.map((p, c) => (c === state.c ? p.map((v, d) => (v + f[d]) / 2) : p));
    shares(f, real).forEach((p, c) => {
      bars[c].bar.style.width = `${(100 * p).toFixed(1)}%`;
      bars[c].bar.className = c === state.c ? "own" : "";
      bars[c].value.textContent = `${(100 * p).toFixed(0)} %`;
    });
    part("says").textContent = `Of ${queries.length} test images of the five classes, ${right(real)} are right with the probes alone, ${right(joined)} when this image joins class ${state.c + 1}.`;
  };
  const all = (v) => () => {
    state.w = state.w.map(() => v);
    show();
  };
  part("learned").onclick = start;
  part("ones").onclick = all(1);
  part("zeros").onclick = all(0);
  part("halves").onclick = all(0.5);
  show();
}
