(root, data) => {
  const c = root.querySelector("canvas"), g = c.getContext("2d"), box = root.querySelector(".knobs"),
    said = root.querySelector(".said"), W = c.width, H = c.height;
  const state = {reading: 1, beta: 2, h: 1, shown: data.walk.length - 1}; let turn = 0.6, tilt = 0.35;
  const at = ([x, y, z]) => { const u = Math.cos(turn)*x - Math.sin(turn)*y,
    w = Math.sin(turn)*x + Math.cos(turn)*y;
    return [W/2 + 125*u, H/2 - 125*(Math.cos(tilt)*z + Math.sin(tilt)*w), w]; };
  const knob = (label, key, high, text) => {
    const l = document.createElement("label"), i = document.createElement("input"),
      o = document.createElement("output");
    l.textContent = label; l.htmlFor = i.id = "birkhoff-" + key;
    Object.assign(i, {type: "range", min: 0, max: high, step: 1, value: state[key]});
    const show = () => { o.textContent = text(state[key]); i.setAttribute("aria-valuetext", o.textContent); };
    i.oninput = () => { state[key] = +i.value; show(); draw(); }; show(); box.append(l, i, o);
  };
  const draw = () => {
    g.clearRect(0, 0, W, H); g.font = "14px sans-serif";
    g.strokeStyle = "#56B4E9"; g.lineWidth = 1; g.beginPath(); g.arc(W/2, H/2, 125*Math.SQRT2, 0, 7); g.stroke();
    const v = data.corners.map(at), dot = (q, r, colour) => { g.fillStyle = colour; g.beginPath();
      g.arc(q[0], q[1], r, 0, 7); g.fill(); };
    g.strokeStyle = "#9aa5b1"; for (let a = 0; a < 6; a++) for (let b = 0; b < a; b++) { g.beginPath();
      g.moveTo(v[a][0], v[a][1]); g.lineTo(v[b][0], v[b][1]); g.stroke(); }
    const name = "AB"[state.reading] + " " + data.betas[state.beta] + " " + data.steps[state.h],
      cloud = data.clouds[name];
    cloud.forEach((p) => dot(at(p), 2, "#0072B2aa"));
    g.strokeStyle = "#E69F00"; g.lineWidth = 2.5; g.beginPath();
    data.walk.slice(0, state.shown + 1).map(at).forEach((q, k) => k ? g.lineTo(q[0], q[1]) : g.moveTo(q[0], q[1]));
      g.stroke();
    data.walk.slice(0, state.shown + 1).forEach((p) => dot(at(p), 3, "#E69F00"));
    dot(at([0, 0, 0]), 4, "#D55E00");
    g.fillStyle = "#1f2933"; v.forEach((q, k) => { dot(q, 5, "#1f2933");
      g.fillText(data.names[k], q[0] + 8, q[1] - 6); });
    const near = cloud.filter((p) => data.corners.some((q) => Math.hypot(p[0]-q[0], p[1]-q[1],
      p[2]-q[2]) < 0.1)).length;
    said.textContent = "U after " + state.shown + " iterations: " + data.costs[state.shown].toFixed(3) +
      ". Samples at a corner: " + near + " of " + cloud.length;
  };
  knob("reading", "reading", 1, (v) => v ? "B, the Fisher metric's own noise" : "A, as printed, with a minus");
  knob("beta", "beta", data.betas.length - 1, (v) => data.betas[v]);
  knob("h", "h", data.steps.length - 1, (v) => data.steps[v]);
  knob("iterations of LR-BFGS", "shown", data.walk.length - 1, (v) => v);
  let held = null;
  c.onpointerdown = (e) => { held = [e.clientX, e.clientY]; c.setPointerCapture(e.pointerId); };
  c.onpointermove = (e) => { if (!held) return; turn += (e.clientX - held[0])/150;
    tilt = Math.max(-1.5, Math.min(1.5, tilt + (e.clientY - held[1])/150)); held = [e.clientX, e.clientY]; draw(); };
  c.onpointerup = () => { held = null; };
  c.onkeydown = (e) => { const d = {ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, 0.15],
    ArrowDown: [0, -0.15]}[e.key]; if (!d) return; e.preventDefault(); turn += d[0]; tilt += d[1]; draw(); };
  draw();
}
