// Features of five classes in a plane; a slider adds deformed images, and the prototypes move. Called with (root, data).
(root, data) => {
  const part = (name) => root.querySelector("#" + name),
    W = 620,
    H = 380,
    colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];
  const plane = part("plane"),
    pen = plane.getContext("2d"),
    input = part("n");
  plane.width = W;
  plane.height = H;
  const all = [...data.real, ...data.made],
    least = [0, 1].map((k) => Math.min(...all.map((p) => p[k]))),
    most = [0, 1].map((k) => Math.max(...all.map((p) => p[k])));
  const X = (p) => 18 + ((p[0] - least[0]) / (most[0] - least[0])) * (W - 36),
    Y = (p) => H - 18 - ((p[1] - least[1]) / (most[1] - least[1])) * (H - 36);
  const outlined = (colour, points) => {
    pen.beginPath();
    points.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.closePath();
    pen.fillStyle = colour;
    pen.fill();
    pen.strokeStyle = "#1f2933";
    pen.lineWidth = 1;
    pen.stroke();
  };
  const star = (x, y) =>
    Array.from({ length: 10 }, (_, k) => {
      const r = k % 2 ? 4 : 10,
        a = (Math.PI * k) / 5;
      return [x + r * Math.sin(a), y - r * Math.cos(a)];
    });
  const plus = (x, y) =>
    [
      [-3, -9],
      [3, -9],
      [3, -3],
      [9, -3],
      [9, 3],
      [3, 3],
      [3, 9],
      [-3, 9],
      [-3, 3],
      [-9, 3],
      [-9, -3],
      [-3, -3],
    ].map(([a, b]) => [x + a, y + b]);
  const draw = () => {
    const n = +input.value;
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, W, H);
    for (let c = 0; c < data.ways; c++) {
      const real = data.real.slice(c * data.each, (c + 1) * data.each),
        made = data.made.slice(c * 16, c * 16 + n),
        start = real[0],
        centre = [0, 1].map((k) => [start, ...made].reduce((s, p) => s + p[k], 0) / (n + 1));
      pen.globalAlpha = 0.4;
      pen.fillStyle = colours[c];
      for (const p of real) {
        pen.beginPath();
        pen.arc(X(p), Y(p), 3, 0, 7);
        pen.fill();
      }
      pen.globalAlpha = 1;
      for (const p of made)
        outlined(colours[c], [
          [X(p), Y(p) - 6],
          [X(p) + 5, Y(p) + 4],
          [X(p) - 5, Y(p) + 4],
        ]);
      pen.strokeStyle = colours[c];
      pen.lineWidth = 2;
      pen.beginPath();
      pen.moveTo(X(start), Y(start));
      pen.lineTo(X(centre), Y(centre));
      pen.stroke();
      outlined(colours[c], star(X(start), Y(start)));
      outlined(colours[c], plus(X(centre), Y(centre)));
    }
    part("count").textContent = n;
    part("says").textContent = `${data.accuracy[n].toFixed(0)} percent of the real images lie nearest to their own prototype, in all dimensions.`;
  };
  input.oninput = draw;
  draw();
}
