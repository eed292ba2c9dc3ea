// One test sequence of each set through the ladder of models; all pixels or only those that are occluded. (root, data)
async (root, data) => {
  const { width: w, height: h, sets, models } = data;
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const load = async (text) => {
    const picture = new Image();
    picture.src = "data:image/webp;base64," + text;
    await picture.decode();
    const c = document.createElement("canvas");
    c.width = w;
    c.height = h;
    const pen = c.getContext("2d");
    pen.drawImage(picture, 0, 0, w, h);
    return pen.getImageData(0, 0, w, h);
  };
  for (const s of sets) {
    s.pictures = {};
    for (const name of ["frame", "truth"]) s.pictures[name] = await load(s[name]);
    s.flows = await Promise.all(s.models.map((m) => load(m.flow)));
    s.errors = await Promise.all(s.models.map((m) => load(m.error)));
    s.mask = bytes(s.hidden);
  }
  const which = root.querySelector("#which"),
    only = root.querySelector("#only"),
    model = root.querySelector("#model"),
    said = root.querySelector("output.said"),
    name = root.querySelector("output.model");
  const canvas = {};
  for (const c of root.querySelectorAll("canvas")) {
    canvas[c.dataset.name] = c;
    c.width = w;
    c.height = h;
  }
  const draw = (to, image, mask) => {
    const shown = new ImageData(new Uint8ClampedArray(image.data), w, h);
    if (mask)
      for (let k = 0; k < w * h; k++)
        if (!mask[k]) {
          const grey = 225 + 0.1 * shown.data[4 * k + 1];
          shown.data.set([grey, grey, grey], 4 * k);
        }
    canvas[to].getContext("2d").putImageData(shown, 0, 0);
  };
  const change = () => {
    const s = sets[+which.value],
      k = +model.value,
      mask = only.checked ? s.mask : null;
    draw("frame", s.pictures.frame, null);
    draw("truth", s.pictures.truth, mask);
    draw("flow", s.flows[k], mask);
    draw("error", s.errors[k], mask);
    name.textContent = models[k];
    model.setAttribute("aria-valuetext", models[k]);
    const m = s.models[k];
    said.textContent = `${models[k]}: ${m.all.toFixed(2)} px wrong on all pixels, ${m.occluded.toFixed(2)} px on occluded ones`;
  };
  for (const input of [which, only, model]) input.oninput = change;
  change();
};
