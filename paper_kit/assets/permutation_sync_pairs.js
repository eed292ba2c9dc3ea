(root, data) => {
  const c = root.querySelector("canvas"), g = c.getContext("2d"), said = root.querySelector(".said"),
    box = root.querySelector(".knobs");
  const state = {pair: 0, K: 1, colour: 0, sampled: 0}, images = data.images.map((s) => { const im = new Image();
    im.onload = () => draw(); im.src = "data:image/webp;base64," + s; return im; });
  const knob = (label, key, low, high, text) => {
    const l = document.createElement("label"), i = document.createElement("input"),
      o = document.createElement("output");
    l.textContent = label; l.htmlFor = i.id = "pair-" + key;
    Object.assign(i, {type: "range", min: low, max: high, step: 1, value: state[key]});
    const show = () => { o.textContent = text(state[key]); i.setAttribute("aria-valuetext", o.textContent); };
    i.oninput = () => { state[key] = +i.value; show(); draw(); }; show(); box.append(l, i, o);
  };
  const ramp = [[13,8,135],[126,3,168],[204,71,120],[248,149,64],[240,249,33]];
  const plasma = (v) => { const t = Math.max(0, Math.min(0.9999, v))*4, k = Math.floor(t), f = t - k;
    return "rgb(" + [0,1,2].map((n) => Math.round(ramp[k][n]*(1 - f) + ramp[k+1][n]*f)) + ")"; };
  const draw = () => {
    const p = data.pairs[state.pair], S = state.sampled ? p.sampled : p.mode, s = c.height/data.size, off = c.width/2;
    g.clearRect(0, 0, c.width, c.height);
    [p.i, p.j].forEach((k, side) => { if (images[k].complete) g.drawImage(images[k], side*(off + 4), 0, c.height,
      c.height); });
    const A = data.places[p.i], B = data.places[p.j]; let hits = 0;
    A.forEach((a, m) => {
      const order = S[m].map((v, b) => [v, b]).sort((u, v) => v[0] - u[0]).slice(0, state.K).reverse();
      if (order.some(([v, b]) => b === p.truth[m])) hits++;
      order.forEach(([v, b]) => {
        g.strokeStyle = state.colour ? (b === p.truth[m] ? "#56B4E9" : "#D55E00") : plasma(v);
        g.lineWidth = 2; g.beginPath(); g.moveTo(a[0]*s, a[1]*s); g.lineTo(off + 4 + B[b][0]*s, B[b][1]*s);
          g.stroke();
      });
    });
    [[A, 0], [B, off + 4]].forEach(([x, d]) => x.forEach((q) => { g.fillStyle = "#fff"; g.beginPath();
      g.arc(d + q[0]*s, q[1]*s, 3, 0, 7); g.fill(); }));
    said.textContent = p.name + ": the true match is among the " + state.K + " kept for " + hits + " of " +
      A.length + " points";
  };
  knob("pair", "pair", 0, data.pairs.length - 1, (v) => data.pairs[v].name);
  knob("K, candidates kept", "K", 1, 5, (v) => v);
  knob("colour", "colour", 0, 1, (v) => v ? "right (blue), wrong (red)" : "certainty");
  knob("ranked by", "sampled", 0, 1, (v) => v ? "samples" : "the mode alone");
  draw();
}
