// The two players of 2.5D Visual Sound: sound, spectrograms, the room from above. Called with (root, data).
async (root, data) => {
  const decode = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const buffer = await new OfflineAudioContext(1, 1, data.rate).decodeAudioData(bytes.buffer);
    return buffer.getChannelData(0);
  };
  const ears = (mix, difference) => {
    // Eq. 3
    const n = Math.min(mix.length, difference ? difference.length : mix.length);
    const left = new Float32Array(n),
      right = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      const d = difference ? difference[i] : 0;
      left[i] = (mix[i] + d) / 2;
      right[i] = (mix[i] - d) / 2;
    }
    return [left, right];
  };
  const modes = [["mono", null], ...data.modes];
  const clips = await Promise.all(
    data.clips.map(async (clip) => {
      const mix = await decode(clip.mix),
        sounds = {};
      for (const [mode] of modes)
        sounds[mode] = ears(mix, clip[mode] ? await decode(clip[mode]) : null);
      return { ...clip, sounds };
    }),
  );
  const state = {
    clip: data.start,
    mode: "predicted",
    playing: false,
    context: null,
    voices: {},
    began: 0,
  };
  const seconds = () =>
    state.clipsLength ||
    (state.clipsLength = Math.min(...clips.map((c) => c.sounds.mono[0].length)) / data.rate);
  const fade = (gain, value) => gain.gain.setTargetAtTime(value, state.context.currentTime, 0.012);
  const silence = (voices) =>
    Object.values(voices).forEach(({ gain, source }) => {
      fade(gain, 0);
      source.stop(state.context.currentTime + 0.2);
    });
  const sound = () => {
    // all versions run together; switching only moves the gains
    const context = state.context,
      at = context.currentTime + 0.03;
    if (!state.began) state.began = at;
    const offset = (((at - state.began) % seconds()) + seconds()) % seconds(),
      old = state.voices;
    state.voices = {};
    for (const [mode] of modes) {
      const pair = clips[state.clip].sounds[mode],
        buffer = context.createBuffer(2, Math.floor(seconds() * data.rate), data.rate);
      pair.forEach((channel, ear) => buffer.copyToChannel(channel.subarray(0, buffer.length), ear));
      const source = context.createBufferSource(),
        gain = context.createGain();
      Object.assign(source, { buffer, loop: true });
      gain.gain.value = 0;
      source.connect(gain).connect(context.destination);
      source.start(at, offset);
      state.voices[mode] = { source, gain };
    }
    silence(old);
    fade(state.voices[state.mode].gain, data.loudness);
  };
  const toggle = async () => {
    if (!state.context) state.context = new AudioContext();
    await state.context.resume();
    state.playing = !state.playing;
    if (state.playing) {
      state.began = 0;
      sound();
    } else {
      silence(state.voices);
      state.voices = {};
    }
    show();
  };
  const choose = (mode) => {
    if (state.playing) {
      fade(state.voices[state.mode].gain, 0);
      fade(state.voices[mode].gain, data.loudness);
    }
    state.mode = mode;
    show();
  };
  const turn = (clip) => {
    if (clip === state.clip) return;
    state.clip = clip;
    if (state.playing) sound();
    show();
  };

  const find = (id) => root.querySelector("#" + id),
    N = 256,
    HOP = 128;
  const spectrum = (x, at) => {
    // one Hann-windowed frame, radix 2
    const re = new Float64Array(N),
      im = new Float64Array(N);
    for (let i = 0, j = 0; i < N; i++) {
      re[j] = (x[at + i] || 0) * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / N));
      let bit = N >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
    }
    for (let size = 2; size <= N; size *= 2)
      for (let k = 0; k < size / 2; k++) {
        const c = Math.cos((2 * Math.PI * k) / size),
          s = -Math.sin((2 * Math.PI * k) / size);
        for (let i = k; i < N; i += size) {
          const j = i + size / 2,
            a = re[j] * c - im[j] * s,
            b = re[j] * s + im[j] * c;
          re[j] = re[i] - a;
          im[j] = im[i] - b;
          re[i] += a;
          im[i] += b;
        }
      }
    return re.map((v, i) => 10 * Math.log10(v * v + im[i] * im[i] + 1e-9));
  };
  const colour = (v) => {
    // dark blue to yellow
    const stops = [
      [13, 8, 60],
      [70, 30, 130],
      [180, 50, 110],
      [245, 130, 50],
      [250, 240, 110],
    ];
    const t = Math.max(0, Math.min(0.9999, v)) * 4,
      i = Math.floor(t),
      f = t - i;
    return stops[i].map((a, k) => a + f * (stops[i + 1][k] - a));
  };
  const paintings = new Map();
  const spectrogram = (canvas, key, x) => {
    const columns = Math.floor((seconds() * data.rate) / HOP) - 1,
      pen = canvas.getContext("2d");
    if (!paintings.has(key)) {
      const image = new ImageData(columns, N / 2);
      for (let t = 0; t < columns; t++) {
        const s = spectrum(x, t * HOP);
        for (let f = 0; f < N / 2; f++)
          image.data.set([...colour((s[f] + 45) / 70), 255], 4 * ((N / 2 - 1 - f) * columns + t));
      }
      paintings.set(key, image);
    }
    canvas.width = columns;
    canvas.height = N / 2;
    pen.putImageData(paintings.get(key), 0, 0);
  };
  const difference = (canvas, [left, right]) => {
    const w = (canvas.width = 700),
      h = (canvas.height = 70),
      pen = canvas.getContext("2d"),
      each = Math.floor((seconds() * data.rate) / w);
    pen.fillStyle = "#0072b2";
    for (let x = 0; x < w; x++) {
      let low = 0,
        high = 0;
      for (let i = x * each; i < (x + 1) * each; i++) {
        const d = left[i] - right[i];
        low = Math.min(low, d);
        high = Math.max(high, d);
      }
      pen.fillRect(x, h / 2 - high * data.zoom * h, 1, Math.max(1, (high - low) * data.zoom * h));
    }
  };
  const level = ([left, right]) => {
    const energy = (x) => x.reduce((s, v) => s + v * v, 1e-9);
    return 10 * Math.log10(energy(right) / energy(left));
  };

  const NS = "http://www.w3.org/2000/svg",
    plan = find("plan");
  const svg = (name, attributes, parent, text) => {
    const e = document.createElementNS(NS, name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (text) e.textContent = text;
    return parent.appendChild(e);
  };
  const spot = (azimuth, r) => [
    150 + 24 * r * Math.sin((azimuth * Math.PI) / 180) * 2,
    168 - 24 * r * Math.cos((azimuth * Math.PI) / 180) * 2,
  ];
  svg("path", { d: "M30 8H270V190H30Z", class: "wall" }, plan);
  svg("circle", { cx: 150, cy: 168, r: 10, class: "head" }, plan);
  svg("path", { d: "M145 159L150 150L155 159Z", class: "head" }, plan);
  const tokens = data.players.map((player, which) => {
    const g = svg(
      "g",
      {
        tabindex: 0,
        role: "slider",
        "aria-label": player.name,
        "aria-valuemin": -60,
        "aria-valuemax": 60,
        class: "player",
      },
      plan,
    );
    svg("circle", { r: 15, fill: player.colour }, g);
    svg("text", { "text-anchor": "middle", y: 29 }, g, player.name);
    const move = (wanted) => {
      // to the free clip in which this player stands nearest to `wanted` degrees
      const now = clips[state.clip].azimuths,
        others = (c) =>
          c.azimuths.reduce((s, a, i) => s + (i === which ? 0 : Math.abs(a - now[i])), 0);
      const cost = (c) => Math.abs(c.azimuths[which] - wanted) + 0.3 * others(c);
      turn(clips.reduce((best, c, i) => (cost(c) < cost(clips[best]) ? i : best), 0));
    };
    let held = false;
    g.onpointerdown = (e) => {
      held = true;
      g.setPointerCapture(e.pointerId);
      e.preventDefault();
      g.focus();
    };
    g.onpointermove = (e) => {
      if (!held) return;
      const q = new DOMPoint(e.clientX, e.clientY).matrixTransform(plan.getScreenCTM().inverse());
      move((Math.atan2(q.x - 150, 168 - q.y) * 180) / Math.PI);
    };
    g.onpointerup = g.onpointercancel = () => {
      held = false;
    };
    g.onkeydown = (e) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1 }[e.key];
      if (!step) return;
      e.preventDefault();
      const mine = [...new Set(clips.map((c) => c.azimuths[which]))].sort((a, b) => a - b),
        now = mine.indexOf(clips[state.clip].azimuths[which]);
      move(mine[Math.max(0, Math.min(mine.length - 1, now + step))]);
    };
    return g;
  });
  const buttons = modes.map(([mode, label]) => {
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = label || "mono";
    b.onclick = () => choose(mode);
    find("modes").append(b);
    return b;
  });
  const curves = () => {
    const clip = clips[state.clip],
      box = find("cues");
    if (!clip.cues) return;
    box.replaceChildren();
    [
      ["level", "level difference, right minus left, dB", 20, "20"],
      ["phase", "phase difference, right minus left, radians", Math.PI, "π"],
    ].forEach(([what, title, most, label], k) => {
      const x = (f) => 40 + (400 * Math.log(f / 150)) / Math.log(7600 / 150),
        y = (v) => 55 + 115 * k - 38 * Math.max(-1, Math.min(1, v / most));
      svg("text", { x: 40, y: 12 + 115 * k }, box, title);
      for (const [v, text] of [
        [most, label],
        [0, "0"],
        [-most, "−" + label],
      ])
        svg("text", { x: 36, y: y(v) + 4, "text-anchor": "end", class: "small" }, box, text);
      svg("path", { d: `M40 ${y(0)}H440`, class: "axis" }, box);
      for (const f of [200, 500, 1000, 2000, 5000])
        svg(
          "text",
          { x: x(f), y: 108 + 115 * k, "text-anchor": "middle", class: "small" },
          box,
          f < 1000 ? f + " Hz" : f / 1000 + " kHz",
        );
      for (const [who, tint] of [
        ["true", "#9aa5b1"],
        ["predicted", "#0072b2"],
      ]) {
        const values = clip.cues[who][what];
        svg(
          "path",
          {
            d:
              "M" +
              values
                .map((v, i) => x(data.frequencies[i]).toFixed(1) + " " + y(v).toFixed(1))
                .join("L"),
            fill: "none",
            stroke: tint,
            "stroke-width": 2.4,
          },
          box,
        );
      }
    });
  };
  const show = () => {
    const clip = clips[state.clip],
      pair = clip.sounds[state.mode];
    find("play").textContent = state.playing ? "Stop" : "Play";
    find("play").setAttribute("aria-pressed", state.playing);
    buttons.forEach((b, i) => b.setAttribute("aria-pressed", modes[i][0] === state.mode));
    find("frame").src = find("look").checked ? clip.heat : clip.frame;
    find("frame").classList.toggle("turned", state.mode === "flipped");
    tokens.forEach((g, i) => {
      const [x, y] = spot(clip.azimuths[i], data.players[i].distance);
      g.setAttribute("transform", `translate(${x} ${y})`);
      g.setAttribute("aria-valuenow", clip.azimuths[i]);
      g.setAttribute("aria-valuetext", clip.azimuths[i] + " degrees");
    });
    difference(find("difference"), pair);
    ["left", "right"].forEach((ear, i) =>
      spectrogram(find(ear), [state.clip, state.mode, ear].join(), pair[i]),
    );
    const db = level(pair);
    find("said").textContent =
      `Right ear against left: ${(db >= 0 ? "+" : "−") + Math.abs(db).toFixed(1)} dB. ` +
      (state.mode === "flipped" ? "The network was shown the mirrored frame." : "");
    const slide = find("azimuth");
    if (slide) {
      slide.value = state.clip;
      slide.setAttribute("aria-valuetext", clip.azimuths[0] + " degrees");
      find("azimuth-now").textContent = clip.azimuths[0] + "°";
    }
    curves();
  };
  find("play").onclick = toggle;
  find("look").onchange = show;
  if (find("azimuth")) {
    find("azimuth").max = clips.length - 1;
    find("azimuth").oninput = (e) => turn(+e.target.value);
  }
  root.paperKit = { state, clips, modes, seconds, choose, turn, toggle, level };
  show();
};
