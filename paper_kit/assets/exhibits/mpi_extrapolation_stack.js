// The stack of planes, to be turned and pulled apart. Called with (root, data).
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

  const stage = root.querySelector(".stage"),
    spread = root.querySelector("#spread"),
    which = root.querySelector("#which");
  const drawn = {};
  let turn = -38,
    tilt = 8;
  const show = async () => {
    const key = which.value;
    drawn[key] = drawn[key] || (await tiles(data.stacks[key]));
    stage.replaceChildren(
      ...drawn[key].map((tile, k) => {
        tile.className = "plane";
        return tile;
      }),
    );
    place();
  };
  const place = () => {
    const all = [...stage.children],
      gap = +spread.value;
    all.forEach((tile, k) => {
      const near = k / (all.length - 1);
      tile.style.transform =
        "translate(-50%,-50%) rotateX(" +
        tilt +
        "deg) rotateY(" +
        turn +
        "deg) translateZ(" +
        (near - 0.5) * gap +
        "px) scale(" +
        (1.25 - 0.75 * near * Math.min(1, gap / 300)) +
        ")";
    });
  };
  spread.oninput = place;
  which.onchange = show;
  let last = null;
  stage.onpointerdown = (e) => {
    last = [e.clientX, e.clientY];
    stage.setPointerCapture(e.pointerId);
  };
  stage.onpointermove = (e) => {
    if (!last) return;
    turn += (e.clientX - last[0]) * 0.4;
    tilt -= (e.clientY - last[1]) * 0.3;
    last = [e.clientX, e.clientY];
    place();
  };
  stage.onpointerup = stage.onpointercancel = () => {
    last = null;
  };
  await show();
};
