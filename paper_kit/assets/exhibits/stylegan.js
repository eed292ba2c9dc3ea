async (root, data) => {
  const find = (id) => root.querySelector("#" + id),
    sheet = new Image();
  sheet.src = "data:image/webp;base64," + data.sheet;
  await sheet.decode();
  const r = data.tile,
    tile = (id, n) => {
      const c = find(id);
      c.width = c.height = r;
      c.getContext("2d").drawImage(
        sheet,
        (n % data.columns) * r,
        Math.floor(n / data.columns) * r,
        r,
        r,
        0,
        0,
        r,
        r,
      );
    };
  const bars = data.factors.map((name) => {
    const d = document.createElement("div"),
      i = document.createElement("i"),
      s = document.createElement("span");
    s.textContent = name;
    d.append(i, s);
    find("bars").append(d);
    return i;
  });
  const sliders = data.sliders.map(([name, labels, start], k) => {
    const label = document.createElement("label"),
      input = document.createElement("input"),
      out = document.createElement("output");
    label.htmlFor = input.id = "s" + k;
    label.textContent = name;
    Object.assign(input, { type: "range", min: 0, max: labels.length - 1, step: 1, value: start });
    input.oninput = () => draw();
    find("sliders").append(label, input, out);
    return () => {
      out.textContent = labels[input.value];
      input.setAttribute("aria-valuetext", labels[input.value]);
      return +input.value;
    };
  });
  const draw = () => {
    const [a, b, cut, psi, layer, nth] = sliders.map((s) => s()),
      L = data.layers + 1,
      P = data.sliders[3][1].length,
      K = data.faces;
    const at = (c, p) => ((a * K + b) * L + c) * P + p,
      n = at(cut, psi);
    tile("a", at(L - 1, P - 1));
    tile("b", at(0, P - 1));
    tile("mix", n);
    tile("noise", data.noises + (a * (data.layers + 2) + layer) * 3 + nth);
    find("what").textContent =
      cut === 0
        ? "all styles from B"
        : cut === L - 1
          ? "all styles from A"
          : (cut === 1 ? "layer 0" : "layers 0 to " + (cut - 1)) + " from A, the rest from B";
    find("how").textContent = "source A, noise: " + data.sliders[4][1][layer];
    bars.forEach((bar, i) => {
      bar.style.height = data.bars[n][i] + "%";
    });
  };
  draw();
};
