async (root, data) => {
  const part = (id) => root.querySelector("#" + id),
    bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const pose = bytes(data.pose),
    which = new Uint16Array(bytes(data.which).buffer),
    N = data.first.length,
    M = data.second.length,
    total = pose.length,
    poses = data.R.length;
  const pictures = await Promise.all(
    data.images.map(
      (text) =>
        new Promise((done) => {
          const i = new Image();
          i.onload = () => done(i);
          i.onerror = () => done(null);
          i.src = "data:image/webp;base64," + text;
        }),
    ),
  );
  const state = { turn: 0.6, tilt: 0.75, truth: false, only: null },
    colours = { g: [0, 158, 115], r: [213, 94, 0], b: [0, 114, 178], t: [230, 159, 0] };
  const value = (id) => +part(id).value;
  part("rank").max = poses;
  const looked = () => Math.max(1, Math.min(total, Math.round(total ** (value("search") / 120))));
  let costs = [],
    best = [],
    parts = [];
  const evaluate = () => {
    const lu = value("lu"),
      ls = value("ls"),
      only = value("rank");
    parts = data.table.map((match) => {
      let n = 0,
        s = 0;
      match.forEach((j, i) => {
        if (j >= 0) {
          n++;
          s += 1 - data.A[i][j];
        }
      });
      return { n, s };
    });
    costs = new Float64Array(total);
    best = new Int32Array(total);
    let b = -1;
    for (let c = 0; c < total; c++) {
      const f = pose[c],
        match = data.table[which[c]],
        p = parts[which[c]];
      let d = 0;
      for (let i = 0; i < N; i++) if (match[i] >= 0) d += data.D[f][i][match[i]];
      costs[c] =
        only && f !== only - 1
          ? Infinity
          : d / Math.max(1, p.n) +
            5 * (1 - data.rotation[f]) +
            (1 - data.translation[f]) +
            ls * p.s +
            lu * (Math.min(N, M) - p.n);
      if (b < 0 || costs[c] < costs[b]) b = c;
      best[c] = b;
    }
  };
  const current = () => best[looked() - 1];
  const mul = (A, v) => [
    A[0] * v[0] + A[1] * v[1] + A[2] * v[2],
    A[3] * v[0] + A[4] * v[1] + A[5] * v[2],
    A[6] * v[0] + A[7] * v[1] + A[8] * v[2],
  ];
  const mm = (A, B) =>
    Array.from({ length: 9 }, (_, k) => {
      const i = 3 * Math.floor(k / 3),
        j = k % 3;
      return A[i] * B[j] + A[i + 1] * B[3 + j] + A[i + 2] * B[6 + j];
    });
  const sides = [
    [0, 1, 3, 2],
    [4, 6, 7, 5],
    [0, 4, 5, 1],
    [2, 3, 7, 6],
    [0, 2, 6, 4],
    [1, 5, 7, 3],
  ];
  const moved = (o, f) => ({
    boxes: o.boxes,
    s: o.s,
    t: mul(data.R[f], o.t).map((x, k) => x + data.t[f][k]),
    R: mm(data.R[f], o.R),
  });
  const middleOf = (list) => {
    const low = [9e9, 9e9, 9e9],
      high = [-9e9, -9e9, -9e9];
    list.forEach((o) =>
      o.t.forEach((x, k) => {
        low[k] = Math.min(low[k], x);
        high[k] = Math.max(high[k], x);
      }),
    );
    return {
      at: low.map((l, k) => (l + high[k]) / 2),
      size: Math.max(1.6, (high[0] - low[0]) / 2 + 1, (high[1] - low[1]) / 2 + 1),
    };
  };
  const scene = (canvas, list, frame, eyes) => {
    const wide = canvas.clientWidth || 240,
      tall = Math.round(Math.min(wide * 0.72, root.clientWidth > 560 ? 225 : 138)),
      ratio = window.devicePixelRatio || 1,
      pen = canvas.getContext("2d");
    canvas.width = wide * ratio;
    canvas.height = tall * ratio;
    canvas.style.height = tall + "px";
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const ca = Math.cos(state.turn),
      sa = Math.sin(state.turn),
      ct = Math.cos(state.tilt),
      st = Math.sin(state.tilt),
      scale = (Math.min(wide, tall / 0.72) / 2 / frame.size) * 0.86;
    const view = (p) => {
      const x = p[0] - frame.at[0],
        y = p[1] - frame.at[1],
        z = p[2] - frame.at[2],
        u = ca * x - sa * y,
        v = sa * x + ca * y;
      return [wide / 2 + scale * u, tall / 2 - scale * (st * v + ct * z), ct * v - st * z];
    };
    const faces = [];
    list.forEach(({ o, c, ghost }) => {
      for (let k = 0; k < o.boxes.length; k += 6) {
        const b = o.boxes.slice(k, k + 6),
          p = [];
        for (let n = 0; n < 8; n++) {
          const u = [n & 4 ? b[3] : b[0], n & 2 ? b[4] : b[1], n & 1 ? b[5] : b[2]].map(
            (x, a) => (x / 16 - 0.5) * o.s[a],
          );
          p.push(mul(o.R, u).map((x, a) => x + o.t[a]));
        }
        sides.forEach((s) => {
          const q = s.map((i) => p[i]),
            a = [0, 1, 2].map((i) => q[1][i] - q[0][i]),
            d = [0, 1, 2].map((i) => q[3][i] - q[0][i]),
            n = [a[1] * d[2] - a[2] * d[1], a[2] * d[0] - a[0] * d[2], a[0] * d[1] - a[1] * d[0]],
            size = Math.hypot(...n) || 1;
          const light = 0.55 + (0.4 * Math.abs(n[2])) / size + (0.12 * Math.abs(n[0])) / size,
            f = q.map(view);
          faces.push({
            z: f.reduce((x, y) => x + y[2], 0),
            f,
            fill: c.map((x) => Math.min(255, Math.round(x * light))).join(),
            ghost,
          });
        });
      }
    });
    faces.sort((a, b) => b.z - a.z);
    pen.clearRect(0, 0, wide, tall);
    faces.forEach(({ f, fill, ghost }) => {
      pen.beginPath();
      f.forEach((p, i) => (i ? pen.lineTo(p[0], p[1]) : pen.moveTo(p[0], p[1])));
      pen.closePath();
      if (ghost) {
        pen.strokeStyle = "rgba(60,60,60,.28)";
        pen.lineWidth = 0.6;
        pen.stroke();
      } else {
        pen.fillStyle = pen.strokeStyle = `rgb(${fill})`;
        pen.lineWidth = 0.5;
        pen.fill();
        pen.stroke();
      }
    });
    eyes.forEach(({ at, to, c }) => {
      const a = view(at),
        b = view(to);
      pen.strokeStyle = pen.fillStyle = `rgb(${c})`;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.moveTo(a[0], a[1]);
      pen.lineTo(b[0], b[1]);
      pen.stroke();
      pen.beginPath();
      pen.arc(a[0], a[1], 4, 0, 7);
      pen.fill();
    });
  };
  const photos = (match) => {
    const canvas = part("pair"),
      wide = canvas.clientWidth || 700,
      [h, w] = data.size,
      k = wide / (2 * w + 4),
      tall = Math.round(k * h),
      ratio = window.devicePixelRatio || 1,
      pen = canvas.getContext("2d");
    canvas.width = wide * ratio;
    canvas.height = tall * ratio;
    canvas.style.height = tall + "px";
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pictures.forEach((p, n) => {
      if (p) pen.drawImage(p, n * k * (w + 4), 0, k * w, tall);
    });
    const middle = data.boxes.map((list, n) =>
      list.map((b) => [k * ((b[0] + b[2]) / 2 + n * (w + 4)), (k * (b[1] + b[3])) / 2]),
    );
    for (let i = 0; i < N; i++)
      for (let j = 0; j < M; j++) {
        const a = data.A[i][j],
          chosen = match[i] === j;
        if (state.only && !(state.only[0] === 0 ? state.only[1] === i : state.only[1] === j)) continue;
        if (!chosen && a <= 0.5 && !state.only) continue;
        pen.strokeStyle = chosen
          ? "rgb(0,158,115)"
          : `rgba(20,20,20,${Math.max(0.08, state.only ? a : 1.4 * (a - 0.5))})`;
        pen.lineWidth = chosen ? 3.5 : 2;
        pen.setLineDash(chosen ? [] : [4, 4]);
        pen.beginPath();
        pen.moveTo(...middle[0][i]);
        pen.lineTo(...middle[1][j]);
        pen.stroke();
        pen.setLineDash([]);
        if (state.only) {
          pen.fillStyle = "#fff";
          pen.fillRect(
            (middle[0][i][0] + middle[1][j][0]) / 2 - 14,
            (middle[0][i][1] + middle[1][j][1]) / 2 - 8,
            30,
            15,
          );
          pen.fillStyle = "#111";
          pen.font = "12px system-ui";
          pen.fillText(
            a.toFixed(2),
            (middle[0][i][0] + middle[1][j][0]) / 2 - 12,
            (middle[0][i][1] + middle[1][j][1]) / 2 + 4,
          );
        }
      }
    middle.forEach((list, n) =>
      list.forEach((p, q) => {
        const on = n === 0 ? match[q] >= 0 : match.includes(q),
          c = on ? colours.g : n === 0 ? colours.r : colours.b;
        pen.fillStyle = `rgb(${c})`;
        pen.strokeStyle = "#fff";
        pen.lineWidth = 1.5;
        pen.beginPath();
        pen.arc(p[0], p[1], 6, 0, 7);
        pen.fill();
        pen.stroke();
      }),
    );
    canvas.onclick = (e) => {
      const box = canvas.getBoundingClientRect(),
        x = e.clientX - box.left,
        y = e.clientY - box.top;
      let near = 24,
        hit = null;
      middle.forEach((list, n) =>
        list.forEach((p, q) => {
          const d = Math.hypot(p[0] - x, p[1] - y);
          if (d < near) {
            near = d;
            hit = [n, q];
          }
        }),
      );
      state.only = hit;
      draw();
    };
  };
  const curve = (now) => {
    const canvas = part("curve"),
      wide = canvas.clientWidth || 700,
      tall = 84,
      ratio = window.devicePixelRatio || 1,
      pen = canvas.getContext("2d");
    canvas.width = wide * ratio;
    canvas.height = tall * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const y = Array.from(best, (b) => costs[b]),
      ok = y.filter(Number.isFinite),
      high = Math.max(...ok),
      low = Math.min(...ok),
      px = (c) => 44 + ((wide - 54) * Math.log(c + 1)) / Math.log(total),
      py = (v) => 12 + ((tall - 34) * (high - v)) / Math.max(1e-6, high - low);
    pen.font = "12px system-ui";
    pen.fillStyle = "#52606d";
    pen.fillText(high.toFixed(1), 4, 18);
    pen.fillText(low.toFixed(1), 4, tall - 20);
    pen.fillText("lowest cost so far (candidates on a log scale)", 48, tall - 5);
    pen.strokeStyle = "#0072B2";
    pen.lineWidth = 2;
    pen.beginPath();
    let open = false;
    y.forEach((v, c) => {
      if (!Number.isFinite(v)) return;
      open ? pen.lineTo(px(c), py(v)) : pen.moveTo(px(c), py(v));
      open = true;
    });
    pen.stroke();
    if (Number.isFinite(y[now])) {
      pen.fillStyle = "#D55E00";
      pen.beginPath();
      pen.arc(px(now), py(y[now]), 5, 0, 7);
      pen.fill();
    }
  };
  const merge = (a, b) => ({
    boxes: a.boxes,
    R: a.R,
    s: a.s.map((x, k) => (x + b.s[k]) / 2),
    t: a.t.map((x, k) => (x + b.t[k]) / 2),
  });
  const draw = () => {
    const c = current(),
      f = pose[c],
      match = data.table[which[c]],
      used = new Set(match.filter((j) => j >= 0)),
      list = [];
    data.first.forEach((o, i) => {
      const m = moved(o, f);
      list.push(
        match[i] >= 0 ? { o: merge(m, data.second[match[i]]), c: colours.g } : { o: m, c: colours.r },
      );
    });
    data.second.forEach((o, j) => {
      if (!used.has(j)) list.push({ o, c: colours.b });
    });
    const frame = middleOf([...data.truth, ...data.second]),
      eye = data.t[f],
      ahead = mul(data.R[f], [0, 0.6, 0]).map((x, k) => x + eye[k]);
    if (state.truth) data.truth.forEach((o) => list.push({ o, c: colours.t, ghost: true }));
    scene(
      part("one"),
      data.first.map((o, i) => ({ o, c: match[i] >= 0 ? colours.g : colours.r })),
      middleOf(data.first),
      [{ at: [0, 0, 0], to: [0, 0.6, 0], c: colours.r }],
    );
    scene(
      part("two"),
      data.second.map((o, j) => ({ o, c: used.has(j) ? colours.g : colours.b })),
      middleOf(data.second),
      [{ at: [0, 0, 0], to: [0, 0.6, 0], c: colours.b }],
    );
    scene(part("both"), list, frame, [
      { at: eye, to: ahead, c: colours.r },
      { at: [0, 0, 0], to: [0, 0.6, 0], c: colours.b },
    ]);
    photos(match);
    curve(looked() - 1);
    const p = parts[which[c]],
      d = match.reduce((x, j, i) => (j >= 0 ? x + data.D[f][i][j] : x), 0) / Math.max(1, p.n);
    part("says").textContent = Number.isFinite(costs[c])
      ? `Best of the first ${looked()} candidates: cost ${costs[c].toFixed(2)} = L_D ${d.toFixed(2)} + pose ${(5 * (1 - data.rotation[f]) + 1 - data.translation[f]).toFixed(2)} + similarity ${(value("ls") * p.s).toFixed(2)} + unmatched ${(value("lu") * (Math.min(N, M) - p.n)).toFixed(2)}. Pose of rank ${f + 1}, ${p.n} pairs matched.`
      : "The candidates looked at so far do not include this pose.";
    part("search").nextElementSibling.textContent = looked() + " / " + total;
    part("lu").nextElementSibling.textContent = value("lu");
    part("ls").nextElementSibling.textContent = value("ls");
    part("rank").nextElementSibling.textContent = value("rank") ? "rank " + value("rank") : "all";
  };
  part("search").oninput = draw;
  ["lu", "ls", "rank"].forEach((id) => {
    part(id).oninput = () => {
      evaluate();
      draw();
    };
  });
  part("truth").onclick = () => {
    state.truth = !state.truth;
    part("truth").setAttribute("aria-pressed", state.truth);
    draw();
  };
  let timer = 0;
  part("play").onclick = () => {
    if (timer) {
      clearInterval(timer);
      timer = 0;
      part("play").textContent = "Play";
      return;
    }
    part("search").value = 0;
    part("play").textContent = "Pause";
    timer = setInterval(() => {
      const next = value("search") + 2;
      part("search").value = next;
      draw();
      if (next >= 120) part("play").click();
    }, 110);
  };
  ["one", "two", "both"].forEach((id) => {
    const canvas = part(id);
    let last = null;
    canvas.onpointerdown = (e) => {
      last = [e.clientX, e.clientY];
      canvas.setPointerCapture(e.pointerId);
    };
    canvas.onpointermove = (e) => {
      if (!last || !canvas.hasPointerCapture(e.pointerId)) return;
      state.turn += (e.clientX - last[0]) / 110;
      state.tilt = Math.max(0.05, Math.min(1.57, state.tilt + (e.clientY - last[1]) / 110));
      last = [e.clientX, e.clientY];
      draw();
    };
    canvas.onkeydown = (e) => {
      const way = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.12], ArrowDown: [0, 0.12] }[
        e.key
      ];
      if (!way) return;
      e.preventDefault();
      state.turn += way[0];
      state.tilt = Math.max(0.05, Math.min(1.57, state.tilt + way[1]));
      draw();
    };
  });
  evaluate();
  draw();
  new ResizeObserver(draw).observe(part("pair").parentElement);
};
