(root, data) => {
  const $ = (id) => root.querySelector("#" + id),
    which = $("which"),
    step = $("step");
  data.items.forEach((it, i) => {
    const o = document.createElement("option");
    o.value = i;
    o.textContent = it.text;
    which.append(o);
  });
  const load = (src) =>
    new Promise((done) => {
      const im = new Image();
      im.onload = () => done(im);
      im.src = "data:image/webp;base64," + src;
    });
  const cache = {};
  const pictures = (i) =>
    cache[i] ||
    (cache[i] = Promise.all([
      Promise.all(data.items[i].canvases.map(load)),
      Promise.all(data.items[i].finals.map(load)),
    ]));
  const words = (id, ws, a, colour) => {
    $(id).replaceChildren(
      ...ws.map((w, k) => {
        const s = document.createElement("span");
        s.className = "w";
        s.textContent = w;
        const v = a ? a[k] : 0;
        s.style.background = "rgba(" + colour + "," + Math.min(1, v * 1.4).toFixed(3) + ")";
        s.title = v.toFixed(2);
        return s;
      }),
    );
  };
  const marks = (ctx, sc) => {
    const X = (p) => p[0] * 300,
      Y = (p) => p[1] * 240;
    if ($("b").checked)
      for (const [i, j, ok] of sc.pairs) {
        ctx.strokeStyle = ok ? "#f2c200" : "#d62728";
        ctx.lineWidth = 3;
        ctx.beginPath();
        ctx.moveTo(X(sc.at[i]), Y(sc.at[i]));
        ctx.lineTo(X(sc.at[j]), Y(sc.at[j]));
        ctx.stroke();
      }
    if ($("u").checked)
      sc.at.forEach((p, i) => {
        ctx.fillStyle = sc.hit[i] ? "#0a9d4f" : "#1f5fd6";
        ctx.strokeStyle = "white";
        ctx.lineWidth = 1.5;
        ctx.beginPath();
        ctx.arc(X(p), Y(p), 6, 0, 7);
        ctx.fill();
        ctx.stroke();
      });
  };
  const show = async () => {
    const i = +which.value,
      it = data.items[i];
    step.max = it.steps.length - 1;
    if (+step.value > +step.max) step.value = step.max;
    const t = +step.value,
      s = it.steps[t];
    const [cs, fs] = await pictures(i);
    const ctx = $("now").getContext("2d");
    ctx.drawImage(cs[t], 0, 0, 300, 240);
    if (s.map) {
      const g = data.grid,
        top = Math.max(...s.map);
      s.map.forEach((v, k) => {
        ctx.fillStyle = "rgba(213,94,0," + ((0.75 * v) / top).toFixed(3) + ")";
        ctx.fillRect(((k % g) * 300) / g, (Math.floor(k / g) * 240) / g, 300 / g, 240 / g);
      });
    }
    $("stepname").textContent = t + 1 + ": " + s.name;
    words("what", it.words, s.what, "0,114,178");
    words("where", it.words, s.where, "213,94,0");
    it.scenes.forEach((sc, k) => {
      const c = $("c" + k).getContext("2d");
      c.drawImage(fs[k], 0, 0, 300, 240);
      marks(c, sc);
    });
  };
  which.onchange = () => {
    step.value = 0;
    show();
  };
  for (const id of ["step", "u", "b"]) $(id).oninput = show;
  return show();
};
