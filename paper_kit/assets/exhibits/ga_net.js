(root, data) => {
  const part = (name) => root.querySelector("#" + name),
    bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const [h, w] = data.size,
    [gh, gw] = data.grid,
    D = data.slices,
    zoom = 6;
  const picture = bytes(data.picture),
    profiles = data.profiles.map(bytes),
    weights = bytes(data.weights),
    reach = bytes(data.reach),
    maps = data.maps.map((t) => new Uint16Array(bytes(t).buffer));
  const pens = {};
  for (const [id, width, height] of [
    ["input", w * zoom, h * zoom],
    ["result", w * zoom, h * zoom],
    ["profile", 480, 210],
    ["cloud", 480, 300],
  ]) {
    const c = part(id);
    c.width = width;
    c.height = height;
    pens[id] = c.getContext("2d");
  }
  const state = { y: data.start[0], x: data.start[1], a: -0.35, e: 0.25, map: data.names.length - 2 };
  const ramp = (v) => {
    const s = data.ramp,
      i = Math.max(0, Math.min(s.length - 1, v * (s.length - 1))),
      k = Math.min(s.length - 2, Math.floor(i)),
      t = i - k;
    return [0, 1, 2].map((c) => Math.round(s[k][c] * (1 - t) + s[k + 1][c] * t));
  };
  const paint = (pen, colour) => {
    const small = document.createElement("canvas");
    small.width = w;
    small.height = h;
    const cells = new ImageData(w, h);
    for (let i = 0; i < h * w; i++) cells.data.set([...colour(i), 255], 4 * i);
    small.getContext("2d").putImageData(cells, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, w * zoom, h * zoom);
  };
  const side = (w / gw) * zoom,
    at = (k) => (k + 0.5) * side,
    pixel = () => Math.min(h - 1, Math.floor(((state.y + 0.5) * h) / gh)) * w + Math.min(w - 1, Math.floor(((state.x + 0.5) * w) / gw)),
    cell = () => state.y * gw + state.x;
  const ways = [
    [0, -1],
    [0, 1],
    [-1, 0],
    [1, 0],
  ];
  const cross = (pen) => {
    pen.lineWidth = 2;
    pen.strokeStyle = "#fff";
    pen.strokeRect(state.x * side - 1, state.y * side - 1, side + 2, side + 2);
    pen.strokeStyle = "#d55e00";
    pen.strokeRect(state.x * side - 3, state.y * side - 3, side + 6, side + 6);
  };
  const arrows = () => {
    const pen = pens.input;
    ways.forEach(([dx, dy], r) => {
      const long = (reach[r * gh * gw + cell()] / 16) * side,
        x0 = at(state.x) + dx * (long + side / 2 + 5),
        y0 = at(state.y) + dy * (long + side / 2 + 5),
        x1 = at(state.x) + dx * (side / 2 + 3),
        y1 = at(state.y) + dy * (side / 2 + 3);
      for (const [colour, wide] of [
        ["#fff", 6],
        ["#0072b2", 3],
      ]) {
        pen.strokeStyle = colour;
        pen.lineWidth = wide;
        pen.beginPath();
        pen.moveTo(x0, y0);
        pen.lineTo(x1, y1);
        pen.lineTo(x1 + dx * 7 + dy * 6, y1 + dy * 7 + dx * 6);
        pen.moveTo(x1, y1);
        pen.lineTo(x1 + dx * 7 - dy * 6, y1 + dy * 7 - dx * 6);
        pen.stroke();
      }
    });
  };
  const chart = () => {
    const pen = pens.profile,
      W = 480,
      H = 210,
      left = 34,
      base = H - 34,
      tints = ["#6b7280", "#e69f00", "#0072b2"],
      truth = maps[data.names.length - 1][pixel()] / 1000;
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, W, H);
    pen.font = "13px system-ui, sans-serif";
    const X = (d) => left + ((d + 0.5) / D) * (W - left - 8),
      Y = (p) => base - p * (base - 26);
    pen.strokeStyle = "#9aa5b1";
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(left, 22);
    pen.lineTo(left, base);
    pen.lineTo(W - 8, base);
    pen.stroke();
    pen.fillStyle = "#1f2933";
    pen.textAlign = "center";
    for (let d = 0; d < D; d += 4) pen.fillText(d, X(d), base + 15);
    pen.fillText("disparity (px)", W / 2, H - 4);
    let top = 0.05;
    profiles.forEach((p) => {
      for (let d = 0; d < D; d++) top = Math.max(top, p[d * gh * gw + cell()] / 255);
    });
    pen.strokeStyle = "#d55e00";
    pen.lineWidth = 2;
    pen.setLineDash([5, 4]);
    pen.beginPath();
    pen.moveTo(X(truth), 24);
    pen.lineTo(X(truth), base);
    pen.stroke();
    pen.setLineDash([]);
    profiles.forEach((p, k) => {
      pen.strokeStyle = tints[k];
      pen.lineWidth = k === 2 ? 3 : 2;
      pen.beginPath();
      for (let d = 0; d < D; d++) {
        const y = Y(p[d * gh * gw + cell()] / 255 / top);
        d ? pen.lineTo(X(d), y) : pen.moveTo(X(d), y);
      }
      pen.stroke();
    });
    pen.textAlign = "left";
    ["before", "after SGA", "after LGA", "truth"].forEach((name, k) => {
      pen.fillStyle = [...tints, "#d55e00"][k];
      pen.fillRect(left + 6 + k * 106, 6, 14, 4);
      pen.fillText(name, left + 24 + k * 106, 13);
    });
  };
  const say = () => {
    const i = pixel(),
      rows = data.directions.map((name, r) => {
        const v = [0, 1, 2, 3, 4].map((k) => weights[(r * 5 + k) * gh * gw + cell()] / 255);
        return `<tr><th>${name}</th>${v.map((x) => `<td>${x.toFixed(2)}</td>`).join("")}<td>${(
          reach[r * gh * gw + cell()] / 16
        ).toFixed(1)}</td></tr>`;
      });
    part("numbers").innerHTML =
      "<tr><th></th><th>w0</th><th>w1</th><th>w2</th><th>w3</th><th>w4</th><th>reach</th></tr>" + rows.join("");
    part("says").textContent = data.names
      .map((name, k) => `${name} ${(maps[k][i] / 1000).toFixed(1)}`)
      .join(", ") + " px";
  };
  const cloud = () => {
    const pen = pens.cloud,
      W = 480,
      H = 300,
      f = w / 2 / Math.tan(Math.PI / 6),
      d = maps[state.map],
      points = [],
      [ca, sa, ce, se] = [Math.cos(state.a), Math.sin(state.a), Math.cos(state.e), Math.sin(state.e)];
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, W, H);
    for (let i = 0; i < h * w; i++) {
      const v = d[i] / 1000 - data.rig[1];
      if (v < data.rig[0] / 12) continue;
      const z = data.rig[0] / v,
        x = (((i % w) + 0.5 - w / 2) * z) / f,
        y = ((Math.floor(i / w) + 0.5 - h / 2) * z) / f,
        zc = z - 5,
        x1 = ca * x + sa * zc,
        z1 = -sa * x + ca * zc,
        y1 = ce * y - se * z1,
        z2 = se * y + ce * z1 + 9;
      if (z2 > 0.5) points.push([z2, x1, y1, i, z]);
    }
    points.sort((p, q) => q[0] - p[0]);
    for (const [z2, x1, y1, i, z] of points) {
      const s = Math.max(1.2, (330 * z) / f / z2 / 1.2);
      pen.fillStyle = `rgb(${picture[3 * i]},${picture[3 * i + 1]},${picture[3 * i + 2]})`;
      pen.fillRect(W / 2 + (330 * x1) / z2 - s / 2, H / 2 + (330 * y1) / z2 - s / 2, s, s);
    }
  };
  const draw = () => {
    paint(pens.input, (i) => picture.subarray(3 * i, 3 * i + 3));
    arrows();
    cross(pens.input);
    paint(pens.result, (i) => ramp(maps[state.map][i] / 1000 / data.most));
    cross(pens.result);
    chart();
    say();
    cloud();
    data.names.forEach((name, k) => part("map" + k).setAttribute("aria-pressed", k === state.map));
  };
  data.names.forEach((name, k) => {
    const b = document.createElement("button");
    b.id = "map" + k;
    b.type = "button";
    b.textContent = name;
    b.onclick = () => {
      state.map = k;
      draw();
    };
    part("maps").append(b);
  });
  const choose = (event) => {
    const box = event.target.getBoundingClientRect();
    state.x = Math.max(0, Math.min(gw - 1, Math.floor(((event.clientX - box.left) / box.width) * gw)));
    state.y = Math.max(0, Math.min(gh - 1, Math.floor(((event.clientY - box.top) / box.height) * gh)));
    draw();
  };
  for (const id of ["input", "result"]) {
    const c = part(id);
    c.tabIndex = 0;
    c.onpointerdown = choose;
    c.onkeydown = (event) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!move) return;
      event.preventDefault();
      state.y = Math.max(0, Math.min(gh - 1, state.y + move[0]));
      state.x = Math.max(0, Math.min(gw - 1, state.x + move[1]));
      draw();
    };
  }
  const view = part("cloud");
  view.tabIndex = 0;
  let held = null;
  view.onpointerdown = (event) => {
    held = [event.clientX, event.clientY];
    view.setPointerCapture(event.pointerId);
  };
  view.onpointerup = view.onpointercancel = () => {
    held = null;
  };
  const turn = (a, e) => {
    state.a += a;
    state.e = Math.max(-1.4, Math.min(1.4, state.e + e));
    cloud();
  };
  view.onpointermove = (event) => {
    if (!held) return;
    turn((event.clientX - held[0]) / 120, (event.clientY - held[1]) / 120);
    held = [event.clientX, event.clientY];
  };
  view.onkeydown = (event) => {
    const move = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    if (!move) return;
    event.preventDefault();
    turn(...move);
  };
  draw();
}
