(root, data) => {
  const part = (name) => root.querySelector("#" + name),
    bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),
    wide = 320,
    s = data.size,
    zoom = wide / s;
  const V = new Int16Array(bytes(data.vertices).buffer),
    F = new Uint16Array(bytes(data.faces).buffer),
    C = bytes(data.colours),
    wanted = bytes(data.silhouette),
    clouds = data.database.map((t) => new Int16Array(bytes(t).buffer));
  const pens = {},
    state = { name: data.shown.indexOf(true), mask: false, timer: null },
    tint = (k) => `rgb(${data.tints[k].join()})`;
  for (const id of ["source", "model", "target", "base"]) {
    const c = part(id);
    c.width = c.height = wide;
    pens[id] = c.getContext("2d");
  }
  const small = document.createElement("canvas");
  small.width = small.height = s;
  const ink = small.getContext("2d", { willReadFrequently: true });
  const load = (text) => {
      const i = new Image();
      i.onload = () => draw();
      i.src = "data:image/webp;base64," + text;
      return i;
    },
    paste = (pen, image) => {
      pen.imageSmoothingEnabled = false;
      if (image.complete && image.naturalWidth) pen.drawImage(image, 0, 0, wide, wide);
    };
  const number = (id) => +part(id).value,
    pose = () => [number("azimuth"), number("elevation"), number("distance")];
  const camera = ([a, e, d]) => {
    a *= Math.PI / 180;
    e *= Math.PI / 180;
    const eye = [d * Math.cos(e) * Math.cos(a), d * Math.cos(e) * Math.sin(a), d * Math.sin(e)],
      f = eye.map((x) => -x / d);
    let r = [f[1], -f[0], 0];
    const n = Math.hypot(...r) || 1;
    r = r.map((x) => x / n);
    const down = [f[1] * r[2] - f[2] * r[1], f[2] * r[0] - f[0] * r[2], f[0] * r[1] - f[1] * r[0]],
      dot = (u, p) => u[0] * (p[0] - eye[0]) + u[1] * (p[1] - eye[1]) + u[2] * (p[2] - eye[2]);
    return (p) => {
      const z = dot(f, p);
      return [(data.focal * s * dot(r, p)) / z + s / 2, (data.focal * s * dot(down, p)) / z + s / 2, z];
    };
  };
  const seen = (see) =>
    Array.from({ length: V.length / 3 }, (_, i) =>
      see([V[3 * i] / 1e4, V[3 * i + 1] / 1e4, V[3 * i + 2] / 1e4]),
    );
  const triangle = (pen, p, f, scale) => {
    pen.beginPath();
    for (let k = 0; k < 3; k++) {
      const q = p[F[3 * f + k]];
      k ? pen.lineTo(q[0] * scale, q[1] * scale) : pen.moveTo(q[0] * scale, q[1] * scale);
    }
    pen.closePath();
  };
  const count = F.length / 3,
    dot = (pen, p, k, shape, large) => {
      const r = large ? 9 : 4.5;
      pen.lineWidth = large ? 2.5 : 1;
      pen.strokeStyle = "#000";
      pen.fillStyle = tint(k);
      pen.beginPath();
      if (shape === "square") pen.rect(p[0] * zoom - r, p[1] * zoom - r, 2 * r, 2 * r);
      else pen.arc(p[0] * zoom, p[1] * zoom, shape === "ring" ? r + 4 : r, 0, 7);
      if (shape !== "ring") pen.fill();
      else {
        pen.strokeStyle = "#fff";
        pen.lineWidth = 3;
      }
      pen.stroke();
    };
  const loss = (p) => {
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, s, s);
    ink.fillStyle = ink.strokeStyle = "#fff";
    ink.lineWidth = 0.3;
    for (let f = 0; f < count; f++) {
      triangle(ink, p, f, 1);
      ink.fill();
      ink.stroke();
    }
    const got = ink.getImageData(0, 0, s, s).data;
    let sum = 0;
    for (let i = 0; i < s * s; i++) sum += ((got[4 * i] - wanted[i]) / 255) ** 2;
    return sum / (s * s);
  };
  const draw = () => {
    const view = pose(),
      see = camera(view),
      p = seen(see),
      turn = number("turn"),
      k0 = state.name,
      points = data.places.map((q) => see(q)),
      error = loss(p);
    let pen = pens.source;
    paste(pen, sources[turn]);
    data.shown.forEach((on, k) => {
      if (!on) return;
      pen.globalAlpha = data["source hidden"][turn][k] ? 0.45 : 1;
      dot(pen, data["source points"][turn][k], k, "dot", k === k0);
      pen.globalAlpha = 1;
    });
    pen = pens.model;
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, wide, wide);
    const order = Array.from({ length: count }, (_, f) => [
      p[F[3 * f]][2] + p[F[3 * f + 1]][2] + p[F[3 * f + 2]][2],
      f,
    ]).sort((a, b) => b[0] - a[0]);
    for (const [, f] of order) {
      const [a, b, c] = [0, 1, 2].map((k) => p[F[3 * f + k]]),
        n = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]),
        light = 0.72 + 0.28 * Math.min(1, Math.abs(n) / 6);
      pen.fillStyle =
        pen.strokeStyle = `rgb(${[0, 1, 2].map((k) => Math.round(C[3 * f + k] * light)).join()})`;
      pen.lineWidth = 0.6;
      triangle(pen, p, f, zoom);
      pen.fill();
      pen.stroke();
    }
    data.shown.forEach((on, k) => {
      if (on) dot(pen, points[k], k, "dot", k === k0);
    });
    pen = pens.target;
    paste(pen, target);
    if (state.mask) {
      const got = ink.getImageData(0, 0, s, s),
        both = new ImageData(s, s);
      for (let i = 0; i < s * s; i++)
        both.data.set([wanted[i], got.data[4 * i], got.data[4 * i], 170], 4 * i);
      const c = document.createElement("canvas");
      c.width = c.height = s;
      c.getContext("2d").putImageData(both, 0, 0);
      pen.drawImage(c, 0, 0, wide, wide);
    }
    data.shown.forEach((on, k) => {
      if (on && k !== k0) dot(pen, points[k], k, "dot", false);
    });
    dot(pen, data.truth[k0], k0, "ring", true);
    dot(pen, data.moved[turn][k0], k0, "square", true);
    dot(pen, points[k0], k0, "dot", true);
    pen = pens.base;
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, wide, wide);
    const cloud = clouds[k0],
      from = camera([view[0], Math.max(view[1], 12), 2.2]);
    pen.fillStyle = "#889";
    for (let i = 0; i < cloud.length / 3; i++) {
      const q = from([cloud[3 * i] / 1e4, cloud[3 * i + 1] / 1e4, cloud[3 * i + 2] / 1e4]);
      pen.fillRect(q[0] * zoom - 2, q[1] * zoom - 2, 4, 4);
    }
    dot(pen, from(data["database points"][k0]), k0, "dot", true);
    const off = (q) => Math.hypot(q[0] - data.truth[k0][0], q[1] - data.truth[k0][1]) / s;
    part("turn").nextElementSibling.textContent = `${45 * turn}°`;
    part("azimuth").nextElementSibling.textContent = `${view[0].toFixed(0)}°`;
    part("elevation").nextElementSibling.textContent = `${view[1].toFixed(0)}°`;
    part("distance").nextElementSibling.textContent = view[2].toFixed(2);
    part("says").textContent =
      `${data.names[k0]}: ours is ${(100 * off(points[k0])).toFixed(0)} percent of the image's width from the truth, the 2D match ${(100 * off(data.moved[turn][k0])).toFixed(0)} (10 is right). Silhouette loss ${error.toFixed(4)}.`;
  };
  const set = ([a, e, d]) => {
    part("azimuth").value = ((a % 360) + 360) % 360;
    part("elevation").value = e;
    part("distance").value = d;
    draw();
  };
  const near = (places, x, y) => {
    let best = -1,
      least = 40;
    data.shown.forEach((on, k) => {
      if (!on) return;
      const d = Math.hypot(places[k][0] * zoom - x, places[k][1] * zoom - y);
      if (d < least) {
        least = d;
        best = k;
      }
    });
    return best;
  };
  const at = (e) => {
    const box = e.target.getBoundingClientRect();
    return [((e.clientX - box.left) * wide) / box.width, ((e.clientY - box.top) * wide) / box.height];
  };
  const next = (step) => {
    do state.name = (state.name + step + data.names.length) % data.names.length;
    while (!data.shown[state.name]);
    draw();
  };
  const places = {
    source: () => data["source points"][number("turn")],
    model: () => data.places.map(camera(pose())),
    target: () => data.places.map(camera(pose())),
  };
  for (const id of ["source", "target", "base"]) {
    const c = part(id);
    let down = null;
    c.onpointerdown = (e) => {
      down = [e.clientX, e.clientY];
      c.setPointerCapture(e.pointerId);
      if (id === "base") return next(1);
      const k = near(places[id](), ...at(e));
      if (k >= 0) {
        state.name = k;
        draw();
      }
    };
    c.onpointermove = (e) => {
      if (down && Math.hypot(e.clientX - down[0], e.clientY - down[1]) > 25) {
        down = [e.clientX, e.clientY];
        next(1);
      }
    };
    c.onpointerup = () => {
      down = null;
    };
    c.onkeydown = (e) => {
      const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
      if (way) {
        e.preventDefault();
        next(way);
      }
    };
  }
  const model = part("model");
  let last = null;
  const turnBy = (x, y) => {
    const [a, e, d] = pose();
    set([a - x, Math.max(-80, Math.min(85, e + y)), d]);
  };
  model.onpointerdown = (e) => {
    last = [e.clientX, e.clientY];
    model.setPointerCapture(e.pointerId);
    const k = near(places.model(), ...at(e));
    if (k >= 0) {
      state.name = k;
      draw();
    }
  };
  model.onpointermove = (e) => {
    if (!last || !model.hasPointerCapture(e.pointerId)) return;
    turnBy((e.clientX - last[0]) * 0.6, (e.clientY - last[1]) * 0.6);
    last = [e.clientX, e.clientY];
  };
  model.onpointerup = () => {
    last = null;
  };
  model.onkeydown = (e) => {
    const way = { ArrowLeft: [8, 0], ArrowRight: [-8, 0], ArrowUp: [0, 6], ArrowDown: [0, -6] }[e.key];
    if (way) {
      e.preventDefault();
      turnBy(...way);
    }
  };
  ["turn", "azimuth", "elevation", "distance"].forEach((name) => {
    part(name).oninput = draw;
  });
  part("home").onclick = () => set(data.pose);
  part("mask").onclick = () => {
    state.mask = !state.mask;
    part("mask").setAttribute("aria-pressed", state.mask);
    draw();
  };
  part("refine").onclick = () => {
    clearInterval(state.timer);
    let step = 0;
    state.timer = setInterval(() => {
      set(data.course[step]);
      if (++step >= data.course.length) clearInterval(state.timer);
    }, 110);
  };
  const sources = data.sources.map(load),
    target = load(data.target);
  set(data.pose);
};
