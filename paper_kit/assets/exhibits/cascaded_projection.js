(root, data) => {
  const part = (id) => root.querySelector("#" + id),
    bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const side = data.side,
    columns = Math.ceil(Math.sqrt(data.count)),
    rows = Math.ceil(data.count / columns);
  const sheet = (id, maps, count) => {
    const canvas = part(id),
      pen = canvas.getContext("2d");
    canvas.width = columns * (side + 1);
    canvas.height = rows * (side + 1);
    pen.fillStyle = "#e6eaee";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    for (let k = 0; k < count; k++) {
      const cell = new ImageData(side, side);
      for (let i = 0; i < side * side; i++) {
        const v = maps[k * side * side + i];
        cell.data.set([v, v, v, 255], 4 * i);
      }
      pen.putImageData(cell, (k % columns) * (side + 1), Math.floor(k / columns) * (side + 1));
    }
  };
  const canvas = part("input"),
    picture = bytes(data.picture),
    n = data.size;
  canvas.width = canvas.height = n;
  const cells = new ImageData(n, n);
  for (let i = 0; i < n * n; i++) cells.data.set([picture[3 * i], picture[3 * i + 1], picture[3 * i + 2], 255], 4 * i);
  canvas.getContext("2d").putImageData(cells, 0, 0);
  sheet("before", bytes(data.maps), data.count);
  const slider = part("rank");
  const draw = () => {
    const k = +slider.value,
      r = data.ranks[k];
    part("said").textContent = r + " of " + data.count + " channels";
    slider.setAttribute("aria-valuetext", part("said").textContent);
    for (const how of ["pruned", "PCA", "CaP"]) {
      const now = data.methods[how][k];
      sheet(how, bytes(now.maps), r);
      part(how + "-text").textContent = how + ": error " + now.error.toFixed(3) + ", accuracy " + now.accuracy.toFixed(1) + "%";
    }
    part("before-text").textContent = "before projection, accuracy " + data.baseline.toFixed(1) + "%";
  };
  slider.oninput = draw;
  draw();
}
