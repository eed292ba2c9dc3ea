// A slice of the spectrum leaves the box as the viewpoint moves. Called with (root, data).
(root, data) => {
  const [box, line] = root.querySelectorAll("canvas"),
    u = root.querySelector("#shift"),
    s = root.querySelector("#axial"),
    d = root.querySelector("#count"),
    note = root.querySelector("output");
  const draw = () => {
    const count = +d.value,
      stack = data.stacks[count],
      n = stack[0].length,
      fine = stack.length / count,
      a = 1 - +s.value,
      shift = +u.value;
    const neighbour = shift / (count - 1),
      cut = Math.min(0.5, (0.5 * a) / Math.max(1e-9, neighbour));
    const render = (shift, a) =>
      Array.from({ length: n }, (_, x) => {
        let sum = 0;
        for (let k = 0; k < stack.length; k++) {
          const row = stack[k],
            at = (((a * (x - n / 2) + n / 2 + (shift * k) / fine / (count - 1)) % n) + n) % n,
            low = Math.floor(at);
          sum += row[low] * (1 - at + low) + row[(low + 1) % n] * (at - low);
        }
        return sum / (20 * fine * Math.sqrt(count));
      });
    let pen = box.getContext("2d");
    const W = box.width,
      H = box.height,
      px = (k) => W / 2 + (k * W) / 1.5,
      py = (k) => H / 2 - (k * H) / 1.5;
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, W, H);
    pen.fillStyle = "#d9e4f2";
    pen.fillRect(px(-0.5), py(0.5), px(0.5) - px(-0.5), py(-0.5) - py(0.5));
    pen.strokeStyle = "#3b6fb5";
    pen.strokeRect(px(-0.5), py(0.5), px(0.5) - px(-0.5), py(-0.5) - py(0.5));
    const slope = -neighbour,
      end = cut / a;
    pen.lineWidth = 2;
    pen.strokeStyle = "#c0392b";
    pen.beginPath();
    pen.moveTo(px(-0.7), py(-0.7 * slope));
    pen.lineTo(px(0.7), py(0.7 * slope));
    pen.stroke();
    pen.strokeStyle = "#3a9a4a";
    pen.lineWidth = 4;
    pen.beginPath();
    pen.moveTo(px(-end), py(-end * slope));
    pen.lineTo(px(end), py(end * slope));
    pen.stroke();
    pen.fillStyle = "#333";
    pen.font = "13px sans-serif";
    pen.fillText("k_x: +-1/2 per pixel", 8, H - 8);
    pen.fillText("k_d: +-1/2 per plane", 8, 16);
    pen = line.getContext("2d");
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, line.width, line.height);
    [
      [render(0, 1), "#bbb", 1],
      [render(shift, a), "#c0392b", 1.6],
    ].forEach(([values, colour, wide]) => {
      pen.strokeStyle = colour;
      pen.lineWidth = wide;
      pen.beginPath();
      values.forEach((v, x) => {
        const X = (x * line.width) / n,
          Y = line.height / 2 - (v * line.height) / 7;
        x ? pen.lineTo(X, Y) : pen.moveTo(X, Y);
      });
      pen.stroke();
    });
    note.textContent =
      "neighbouring planes shift by " +
      neighbour.toFixed(2) +
      " pixels; bound of Eq 4: " +
      a.toFixed(2) +
      "; cut-off " +
      cut.toFixed(3) +
      " cycles/pixel";
  };
  u.oninput = s.oninput = d.onchange = draw;
  draw();
};
