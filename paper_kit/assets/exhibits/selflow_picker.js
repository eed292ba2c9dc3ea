// Superpixels of the next frame are hidden under noise by a click; teacher and student run here. Called with (root, data).
async (root, data) => {
  const { width: w, height: h, radius, finest, levels, labels: coded, a1, a2 } = data;
  const n = w * h;
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const packed = bytes(coded),
    labels = packed.map((v) => v & 127),
    hidden = packed.map((v) => v >> 7);
  const truth = Float32Array.from(new Int8Array(bytes(data.flow).buffer), (v) => v * data.unit);
  const decode = async (text) => {
    const picture = new Image();
    picture.src = "data:image/webp;base64," + text;
    await picture.decode();
    const c = document.createElement("canvas");
    c.width = w;
    c.height = h;
    const pen = c.getContext("2d");
    pen.drawImage(picture, 0, 0, w, h);
    const rgba = pen.getImageData(0, 0, w, h).data;
    return Uint8Array.from({ length: 3 * n }, (_, k) => rgba[4 * (k % n) + Math.floor(k / n)]);
  };
  // The frames before, this, after, and the one after that; the first place stays empty.
  const raw = data.frames ? data.frames.map(bytes) : await Promise.all(data.pictures.map(decode));
  const frames = [null, ...raw.map((f) => Float32Array.from(f, (v) => v / 255))];
  // The teacher's weights are whole numbers of eight bits; the student's add a difference of four bits to them.
  const network = (layers, base) => {
    const found = {};
    for (const [name, l] of Object.entries(layers)) {
      const q = bytes(l.q),
        each = l.i * 9,
        w = new Float32Array(l.o * each);
      const whole = base ? (k) => ((q[k >> 1] >> (k % 2 ? 4 : 0)) & 15) - 8 : (k) => (q[k] << 24) >> 24;
      for (let k = 0; k < w.length; k++)
        w[k] = whole(k) * l.s[Math.floor(k / each)] + (base ? base[name].w[k] : 0);
      found[name] = { o: l.o, i: l.i, b: l.b, w };
    }
    return found;
  };
  const teacher = network(data.teacher),
    student = network(data.student, teacher);

  // x: {c, h, w, v}, channels first.
  const conv = (x, l, stride, dilation, leaky) => {
    const H = x.h / stride,
      W = x.w / stride,
      out = new Float32Array(l.o * H * W),
      pad = stride > 1 ? 0 : dilation;
    for (let o = 0; o < l.o; o++) {
      const to = o * H * W;
      out.fill(l.b[o], to, to + H * W);
      for (let c = 0; c < l.i; c++)
        for (let ky = 0; ky < 3; ky++)
          for (let kx = 0; kx < 3; kx++) {
            const weight = l.w[((o * l.i + c) * 3 + ky) * 3 + kx],
              dx = kx * dilation - pad;
            const left = dx < 0 ? Math.ceil(-dx / stride) : 0,
              right = Math.min(W, Math.floor((x.w - 1 - dx) / stride) + 1);
            for (let y = 0; y < H; y++) {
              const iy = y * stride + ky * dilation - pad;
              if (iy < 0 || iy >= x.h) continue;
              const from = (c * x.h + iy) * x.w + dx,
                row = to + y * W;
              for (let i = left; i < right; i++) out[row + i] += weight * x.v[from + i * stride];
            }
          }
    }
    if (leaky) for (let k = 0; k < out.length; k++) if (out[k] < 0) out[k] *= 0.2;
    return { c: l.o, h: H, w: W, v: out };
  };
  const pyramid = (net, frame) => {
    const found = [];
    let x = { c: 3, h, w, v: frame };
    for (let k = 1; k <= levels; k++) {
      x = conv(x, net[`feature_extractor.conv${k}_1`], 2, 1, true);
      x = conv(x, net[`feature_extractor.conv${k}_2`], 1, 1, true);
      found.push(x);
    }
    return found;
  };
  const sample = (v, W, H, at, x, y) => {
    const x0 = Math.floor(x),
      y0 = Math.floor(y);
    let sum = 0;
    for (const [i, j, weight] of [
      [x0, y0, (x0 + 1 - x) * (y0 + 1 - y)],
      [x0 + 1, y0, (x - x0) * (y0 + 1 - y)],
      [x0, y0 + 1, (x0 + 1 - x) * (y - y0)],
      [x0 + 1, y0 + 1, (x - x0) * (y - y0)],
    ])
      if (i >= 0 && j >= 0 && i < W && j < H) sum += weight * v[at + j * W + i];
    return sum;
  };
  const warp = (x, flow) => {
    const m = x.h * x.w,
      out = new Float32Array(x.c * m);
    for (let k = 0; k < m; k++) {
      const px = (k % x.w) + flow.v[k],
        py = Math.floor(k / x.w) + flow.v[m + k];
      for (let c = 0; c < x.c; c++) out[c * m + k] = sample(x.v, x.w, x.h, c * m, px, py);
    }
    return { ...x, v: out };
  };
  const unit = (x) => {
    const m = x.h * x.w,
      out = new Float32Array(x.v.length);
    for (let k = 0; k < m; k++) {
      let s = 0;
      for (let c = 0; c < x.c; c++) s += x.v[c * m + k] ** 2;
      s = 1 / Math.sqrt(Math.max(s, 1e-12));
      for (let c = 0; c < x.c; c++) out[c * m + k] = x.v[c * m + k] * s;
    }
    return { ...x, v: out };
  };
  const costs = (a, b) => {
    const m = a.h * a.w,
      d = 2 * radius + 1,
      out = new Float32Array(d * d * m);
    a = unit(a);
    b = unit(b);
    for (let i = 0; i < d; i++)
      for (let j = 0; j < d; j++)
        for (let y = 0; y < a.h; y++)
          for (let x = 0; x < a.w; x++) {
            const u = x + j - radius,
              v = y + i - radius;
            if (u < 0 || v < 0 || u >= a.w || v >= a.h) continue;
            let s = 0;
            for (let c = 0; c < a.c; c++) s += a.v[c * m + y * a.w + x] * b.v[c * m + v * a.w + u];
            out[(i * d + j) * m + y * a.w + x] = s;
          }
    return { c: d * d, h: a.h, w: a.w, v: out };
  };
  const resize = (flow, H, W) => {
    const m = flow.h * flow.w,
      out = new Float32Array(2 * H * W);
    for (let k = 0; k < H * W; k++) {
      const x = ((k % W) * (flow.w - 1)) / (W - 1),
        y = (Math.floor(k / W) * (flow.h - 1)) / (H - 1);
      out[k] = (sample(flow.v, flow.w, flow.h, 0, x, y) * W) / flow.w;
      out[H * W + k] = (sample(flow.v, flow.w, flow.h, m, x, y) * H) / flow.h;
    }
    return { c: 2, h: H, w: W, v: out };
  };
  const join = (...parts) => {
    const { h: H, w: W } = parts[0],
      out = new Float32Array(parts.reduce((s, p) => s + p.v.length, 0));
    let at = 0;
    for (const p of parts) {
      out.set(p.v, at);
      at += p.v.length;
    }
    return { c: out.length / (H * W), h: H, w: W, v: out };
  };
  const minus = (x) => ({ ...x, v: x.v.map((v) => -v) });
  const chain = (net, name, layers, x, dilations) => {
    for (let k = 1; k < layers; k++) x = conv(x, net[`${name}${k}`], 1, dilations ? dilations[k - 1] : 1, true);
    return [conv(x, net[`${name}${layers}`], 1, dilations ? dilations[layers - 1] : 1, false), x];
  };
  // Flows from the centre frame: forward and backward.
  const triple = (net, before, centre, after) => {
    const top = centre[levels - 1],
      zero = () => ({ c: 2, h: top.h, w: top.w, v: new Float32Array(2 * top.h * top.w) });
    let fw = zero(),
      bw = zero(),
      mine,
      other;
    for (let level = levels; level >= finest; level--) {
      const f = centre[level - 1],
        name = `estimator_level_${level}.conv`;
      if (level < levels) [fw, bw] = [fw, bw].map((x) => resize(x, f.h, f.w));
      const cf = costs(f, warp(after[level - 1], fw)),
        cb = costs(f, warp(before[level - 1], bw));
      const first = chain(net, name, data.layers, join(cf, cb, f, fw, minus(bw))),
        second = chain(net, name, data.layers, join(cb, cf, f, bw, minus(fw)));
      [fw, mine] = first;
      [bw, other] = second;
    }
    const context = (a, b, f, g) =>
      chain(net, "context_network.dilated_conv", data.dilations.length, join(a, b, f, minus(g)), data.dilations)[0];
    return [context(mine, other, fw, bw), context(other, mine, bw, fw)].map((x) => resize(x, h, w));
  };
  const occluded = (fw, bw) => {
    const out = new Uint8Array(n);
    for (let k = 0; k < n; k++) {
      const u = fw.v[k],
        v = fw.v[n + k],
        x = (k % w) + u,
        y = Math.floor(k / w) + v;
      const p = sample(bw.v, w, h, 0, x, y),
        q = sample(bw.v, w, h, n, x, y);
      const lost = (u + p) ** 2 + (v + q) ** 2 >= a1 * (u * u + v * v + p * p + q * q) + a2;
      out[k] = lost || x < 0 || y < 0 || x > w - 1 || y > h - 1 ? 1 : 0;
    }
    return out;
  };

  const canvas = {};
  const paint = (name, color) => {
    if (!canvas[name]) {
      canvas[name] = root.querySelector(`canvas[data-name="${name}"]`);
      canvas[name].width = w;
      canvas[name].height = h;
    }
    const pen = canvas[name].getContext("2d"),
      image = pen.createImageData(w, h);
    for (let k = 0; k < n; k++) {
      const c = color(k);
      image.data.set([c[0], c[1], c[2], 255], 4 * k);
    }
    pen.putImageData(image, 0, 0);
  };
  const wheel = (flow) => (k) => {
    const u = flow[k],
      v = flow[n + k],
      s = Math.min(1, Math.hypot(u, v) / data.top),
      hue = ((Math.atan2(v, u) / (2 * Math.PI) + 1) % 1) * 6;
    return [5, 3, 1].map((o) => {
      const t = (o + hue) % 6;
      return Math.round(255 * (1 - s * Math.max(0, Math.min(t, 4 - t, 1))));
    });
  };
  const colors = (frame) => (k) => [frame[k] * 255, frame[n + k] * 255, frame[2 * n + k] * 255];
  const ink = (map) => (k) => (map[k] ? [0, 0, 0] : [245, 245, 245]);

  let state = 12345;
  const noise = () => (state = (state * 1664525 + 1013904223) >>> 0) / 4294967296;
  const speckle = Float32Array.from({ length: 3 * n }, noise);
  const clean = {
    teacher: frames.map((f) => f && pyramid(teacher, f)),
    student: frames.map((f) => f && pyramid(student, f)),
  };
  const around = (p, next, k) => [p[k - 1], k === 3 ? next : p[k], k === 2 ? next : p[k + 1]];
  const sure = triple(teacher, ...around(clean.teacher, clean.teacher[3], 2));
  const back = triple(teacher, ...around(clean.teacher, clean.teacher[3], 3));
  const before = occluded(sure[0], back[1]);
  const picked = new Set(data.picked);
  const said = root.querySelector("output");
  const error = (flow, where) => {
    let sum = 0,
      count = 0;
    for (let k = 0; k < n; k++)
      if (where[k]) {
        sum += Math.hypot(flow.v[k] - truth[k], flow.v[n + k] - truth[n + k]);
        count++;
      }
    return count ? (sum / count).toFixed(2) : "-";
  };
  const update = () => {
    const noisy = frames[3].map((v, k) => (picked.has(labels[k % n]) ? speckle[k] : v));
    const t = triple(teacher, ...around(clean.teacher, pyramid(teacher, noisy), 2)),
      next = pyramid(student, noisy);
    const s = triple(student, ...around(clean.student, next, 2)),
      r = triple(student, ...around(clean.student, next, 3));
    const after = occluded(s[0], r[1]),
      mask = after.map((v, k) => (v && !before[k] ? 1 : 0));
    const covered = new Uint8Array(n);
    for (let k = 0; k < n; k++) {
      const x = Math.round((k % w) + truth[k]),
        y = Math.round(Math.floor(k / w) + truth[n + k]);
      if (!hidden[k] && x >= 0 && y >= 0 && x < w && y < h && picked.has(labels[y * w + x])) covered[k] = 1;
    }
    paint("this", colors(frames[2]));
    paint("next", colors(noisy));
    paint("teacher", wheel(t[0].v));
    paint("student", wheel(s[0].v));
    paint("truth", wheel(truth));
    paint("before", ink(before));
    paint("after", ink(after));
    paint("mask", (k) => (mask[k] ? [255, 255, 255] : [40, 40, 40]));
    said.textContent =
      `Where the noise now hides what was visible: teacher ${error(t[0], covered)} px wrong ` +
      `(on the clean frames ${error(sure[0], covered)}), student ${error(s[0], covered)} px. ` +
      `The mask M has ${mask.reduce((a, v) => a + v, 0)} pixels.`;
  };
  update();
  const choose = (label) => {
    if (!picked.delete(label)) picked.add(label);
    update();
  };
  const target = canvas.next;
  target.addEventListener("click", (event) => {
    const box = target.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * w),
      y = Math.floor(((event.clientY - box.top) / box.height) * h);
    choose(labels[Math.min(h - 1, Math.max(0, y)) * w + Math.min(w - 1, Math.max(0, x))]);
  });
  const count = Math.max(...labels) + 1;
  root.querySelector(".any").onclick = () => choose(Math.floor(Math.random() * count));
  root.querySelector(".none").onclick = () => {
    picked.clear();
    update();
  };
};
