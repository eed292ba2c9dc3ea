// Renders both multiplane images plane by plane from any place to the left or right. Called with (root, data).
async (root, data) => {
  const tiles = async (atlas) => {
    const sheet = new Image();
    sheet.src = "data:image/webp;base64," + atlas.picture;
    await sheet.decode();
    return Array.from({ length: atlas.count }, (_, k) => {
      const tile = document.createElement("canvas");
      tile.width = data.width;
      tile.height = data.height;
      tile
        .getContext("2d")
        .drawImage(
          sheet,
          (k % atlas.columns) * data.width,
          Math.floor(k / atlas.columns) * data.height,
          data.width,
          data.height,
          0,
          0,
          data.width,
          data.height,
        );
      return tile;
    });
  };

  const canvases = [...root.querySelectorAll("canvas")],
    slider = root.querySelector("#u"),
    planes = root.querySelector("#planes"),
    note = root.querySelector("output");
  const stacks = {};
  for (const key of Object.keys(data.stacks))
    stacks[key] = { tiles: await tiles(data.stacks[key].atlas), depths: data.stacks[key].depths };
  const zoom = canvases[0].width / data.width;
  const draw = () => {
    const u = +slider.value,
      count = planes.value,
      bound = data.bounds[count];
    ["init", "fin"].forEach((step, which) => {
      const pen = canvases[which].getContext("2d"),
        stack = stacks[step + " " + count];
      pen.imageSmoothingEnabled = true;
      pen.fillStyle = "#808080";
      pen.fillRect(0, 0, canvases[which].width, canvases[which].height);
      stack.tiles.forEach((tile, k) =>
        pen.drawImage(
          tile,
          (-zoom * data.focal * u) / stack.depths[k],
          0,
          canvases[which].width,
          canvases[which].height,
        ),
      );
    });
    const ratio = Math.abs(u) / bound;
    note.textContent =
      u.toFixed(2) +
      " m = " +
      ratio.toFixed(2) +
      " x the bound of Eq 4 for " +
      count +
      " planes (" +
      bound.toFixed(2) +
      " m)" +
      (ratio > 1 ? ": beyond" : "");
    note.style.color = ratio > 1 ? "#c0392b" : "";
    slider.setAttribute("aria-valuetext", note.textContent);
  };
  slider.oninput = planes.onchange = draw;
  canvases.forEach((canvas) => {
    let last = null;
    canvas.onpointerdown = (e) => {
      last = e.clientX;
      canvas.setPointerCapture(e.pointerId);
    };
    canvas.onpointermove = (e) => {
      if (last === null) return;
      slider.value = +slider.value - ((e.clientX - last) * 2 * +slider.max) / canvas.clientWidth;
      last = e.clientX;
      draw();
    };
    canvas.onpointerup = canvas.onpointercancel = () => {
      last = null;
    };
  });
  draw();
};
