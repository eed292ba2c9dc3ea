async (root, data) => {
  const part = (name) => root.querySelector("#" + name),
    bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const V = new Int16Array(bytes(data.vertices).buffer),
    n = data.count,
    F = data.faces,
    all = data.places + 2,
    wide = 420;
  const view = part("view"),
    pen = view.getContext("2d"),
    state = { swapTexture: false, swapShape: false, grey: false, R: null };
  view.width = view.height = wide;
  const loaded = (text) =>
    new Promise((done) => {
      const i = new Image();
      i.onload = () => done(i);
      i.onerror = () => done(null);
      i.src = "data:image/webp;base64," + text;
    });
  const pictures = await Promise.all(data.images.map(loaded)),
    table = await loaded(data.colours),
    sheet = document.createElement("canvas");
  sheet.width = table.width;
  sheet.height = table.height;
  const at = sheet.getContext("2d");
  at.drawImage(table, 0, 0);
  const C = at.getImageData(0, 0, table.width, table.height).data.filter((_, i) => i % 4 < 3);
  const put = (canvas, which) => {
    canvas.width = canvas.height = data.size;
    if (pictures[which]) canvas.getContext("2d").drawImage(pictures[which], 0, 0);
  };
  const times = (A, B) =>
    Array.from({ length: 9 }, (_, k) => {
      const i = 3 * Math.floor(k / 3),
        j = k % 3;
      return A[i] * B[j] + A[i + 1] * B[3 + j] + A[i + 2] * B[6 + j];
    });
  const about = (axis, a) => {
    const c = Math.cos(a),
      s = Math.sin(a);
    return axis === "y" ? [c, 0, s, 0, 1, 0, -s, 0, c] : [1, 0, 0, 0, c, -s, 0, s, c];
  };
  const stage = () => +part("stage").value;
  const alike = [0, 1, 2, 3].map((s) => {
    const size = F.length * 12,
      first = C.subarray(s * all * size, (s * all + 1) * size);
    return Array.from({ length: all }, (_, k) => k).every((k) =>
      first.every((c, i) => c === C[(s * all + k) * size + i]),
    );
  });
  const draw = () => {
    const s = stage(),
      shape = state.swapShape ? data.places + 1 : +part("shape").value,
      texture = state.swapTexture ? data.places + 1 : +part("texture").value;
    const v0 = (s * all + shape) * n * 3,
      c0 = (s * all + texture) * F.length * 12,
      R = state.R,
      x = new Float64Array(n * 3);
    for (let i = 0; i < n; i++)
      for (let k = 0; k < 3; k++)
        x[3 * i + k] =
          (R[3 * k] * V[v0 + 3 * i] + R[3 * k + 1] * V[v0 + 3 * i + 1] + R[3 * k + 2] * V[v0 + 3 * i + 2]) /
          8000;
    const flat = (p) => {
        const f = (data.focal * wide) / 2 / (data.depth - p[2]);
        return [wide / 2 + f * p[0], wide / 2 - f * p[1]];
      },
      mid = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2],
      pieces = [];
    F.forEach((face, f) => {
      const [a, b, c] = face.map((i) => [x[3 * i], x[3 * i + 1], x[3 * i + 2]]),
        ab = mid(a, b),
        bc = mid(b, c),
        ca = mid(c, a);
      const u = [b[0] - a[0], b[1] - a[1], b[2] - a[2]],
        w = [c[0] - a[0], c[1] - a[1], c[2] - a[2]],
        N = [u[1] * w[2] - u[2] * w[1], u[2] * w[0] - u[0] * w[2], u[0] * w[1] - u[1] * w[0]],
        size = Math.hypot(...N) || 1;
      const light = 0.35 + 0.6 * Math.max(0, (-0.35 * N[0] + 0.75 * N[1] + 0.56 * N[2]) / size);
      [
        [a, ab, ca],
        [ab, b, bc],
        [ca, bc, c],
        [ab, bc, ca],
      ].forEach((t, k) => {
        const at = c0 + 3 * (4 * f + k);
        pieces.push([
          t[0][2] + t[1][2] + t[2][2],
          t,
          state.grey
            ? `rgb(${[210, 210, 205].map((g) => Math.round(g * light)).join()})`
            : `rgb(${C[at]},${C[at + 1]},${C[at + 2]})`,
        ]);
      });
    });
    pieces.sort((p, q) => p[0] - q[0]);
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, wide, wide);
    for (const [, t, colour] of pieces) {
      pen.beginPath();
      t.forEach((p, i) => {
        const [px, py] = flat(p);
        i ? pen.lineTo(px, py) : pen.moveTo(px, py);
      });
      pen.closePath();
      pen.fillStyle = pen.strokeStyle = colour;
      pen.lineWidth = 1;
      pen.fill();
      pen.stroke();
    }
    const step = (name) =>
      ((4 * +part(name).value) / (data.places - 1) - 2).toFixed(1).replace("-0.0", "0.0");
    part("stage").nextElementSibling.textContent = data.stages[s];
    ["shape", "texture"].forEach((name) => {
      part(name).nextElementSibling.textContent = step(name) + " σ";
    });
    put(part("other"), data.neighbours[s][state.swapShape && !state.swapTexture ? 0 : 1]);
    part("says").textContent =
      (s === 0 ? "Stage 1: one shape for the whole category, so the shape slider changes nothing. " : "") +
      (alike[s] ? "All cars have one texture at this stage: its slider and its swap change nothing. " : "") +
      (state.swapTexture ? "With the texture of its neighbour. " : "") +
      (state.swapShape ? "With the shape of its neighbour. " : "");
  };
  const home = () => {
      state.R = data.turns[stage()].slice();
      draw();
    },
    turn = (a, e) => {
      state.R = times(about("x", e), times(state.R, about("y", a)));
      draw();
    };
  for (const [id, key] of [
    ["swap-texture", "swapTexture"],
    ["swap-shape", "swapShape"],
    ["grey", "grey"],
  ])
    part(id).onclick = () => {
      state[key] = !state[key];
      part(id).setAttribute("aria-pressed", state[key]);
      draw();
    };
  ["stage", "shape", "texture"].forEach((name) => {
    part(name).oninput = draw;
  });
  part("home").onclick = home;
  let last = null;
  view.onpointerdown = (e) => {
    last = [e.clientX, e.clientY];
    view.setPointerCapture(e.pointerId);
  };
  view.onpointermove = (e) => {
    if (!last || !view.hasPointerCapture(e.pointerId)) return;
    turn((e.clientX - last[0]) / 90, (e.clientY - last[1]) / 90);
    last = [e.clientX, e.clientY];
  };
  view.onkeydown = (e) => {
    const way = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[
      e.key
    ];
    if (!way) return;
    e.preventDefault();
    turn(...way);
  };
  put(part("input"), data.own);
  home();
};
