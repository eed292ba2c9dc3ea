"""kit.audio against librosa, SciPy, mir_eval and hand-made cases."""
import math

import numpy as np
import pytest
import torch

from paper_kit.kit import audio
from paper_kit.kit.files import PaperKitError


def noise(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_stft_is_librosas():
    librosa = pytest.importorskip("librosa")
    x = noise(10_080).numpy()
    mine = audio.Stft()(torch.from_numpy(x)).numpy()
    theirs = librosa.stft(x, n_fft=512, hop_length=160, win_length=400, center=True, pad_mode="constant")
    assert mine.shape == theirs.shape == (257, 64) and np.abs(mine - theirs).max() < 1e-4


@pytest.mark.parametrize("samples", [1, 159, 400, 10_080, 16_001])
def test_stft_comes_back(samples):
    x = noise(2, 3, samples).double()
    transform = audio.Stft()
    X = transform(x)
    assert X.shape == (2, 3, 257, 1 + samples//160)
    if samples >= 400: assert (transform.inverse(X, samples) - x).abs().max() < 1e-10


def test_stft_is_linear_and_refuses_nothing_at_all():
    a, b = noise(2, 4000), noise(2, 4000, seed=1)
    t = audio.Stft()
    assert torch.allclose(t(2*a - b), 2*t(a) - t(b), atol=1e-3)
    with pytest.raises(PaperKitError, match="empty signal"): t(torch.zeros(2, 0))


@pytest.mark.parametrize("samples", [999, 1000])
def test_envelope_is_scipys(samples):
    from scipy.signal import hilbert
    x = noise(2, samples).double()
    assert np.allclose(audio.envelope(x).numpy(), np.abs(hilbert(x.numpy())), atol=1e-10)


def test_kemar_is_what_it_should_be():
    head = audio.kemar()
    assert head.responses.shape[:2] == (710, 2) and head.rate == 16_000 and np.isfinite(head.responses).all()
    for azimuth in (15, 45, 90, 120):
        assert np.allclose(head.at(azimuth), head.at(-azimuth)[::-1], atol=1e-6), "exactly symmetric"
    assert np.allclose(head.at(0)[0], head.at(0)[1], atol=1e-7)
    level = lambda h: 10*np.log10((h**2).sum(-1))
    assert level(head.at(60))[1] - level(head.at(60))[0] > 8, "a sound from the right is louder on the right"


def test_blended_responses_lie_between_the_measured_and_wrap_around():
    head = audio.kemar()
    assert np.allclose(head.at(12.5), (head.at(10) + head.at(15))/2, atol=1e-7)
    assert np.allclose(head.at(180), head.at(-180)) and np.isfinite(head.at(179.0)).all()
    assert np.allclose(head.at(177.5), (head.at(175) + head.at(180))/2, atol=1e-7)


def test_the_pickle_is_never_executed(tmp_path, monkeypatch):
    import pickle
    class Evil:
        def __reduce__(self): return (open, (str(tmp_path/"made"), "w"))
    import bz2
    import hashlib
    file = tmp_path/"head.bz2"
    file.write_bytes(bz2.compress(pickle.dumps(Evil())))
    with pytest.raises(ValueError, match="another file"): audio._inert_pickle(file)
    monkeypatch.setattr(audio, "_kemar_file", hashlib.sha256(file.read_bytes()).hexdigest())
    audio._inert_pickle(file)                                            # even then it makes a record, not a file
    assert not (tmp_path/"made").exists()


@pytest.mark.parametrize("azimuth", [-60, -20, 20, 60])
def test_sphere_has_woodworths_delay(azimuth):
    heard = torch.from_numpy(np.stack([np.convolve(noise(8000).numpy(), h)[:8000]
                                       for h in audio.spherical_head().at(azimuth)]))
    a = math.radians(abs(azimuth))
    wanted = 1e6*0.0875/343*(a + math.sin(a))*np.sign(azimuth)
    cues = audio.interaural(heard)
    assert abs(cues["itd"].item() - wanted) < 0.25*abs(wanted) + 20 and cues["ild"].item()*azimuth > 0


def test_interaural_time_and_level_by_hand():
    x = noise(16_000)
    delayed = torch.stack([torch.roll(x, 5), 2*x])
    cues = audio.interaural(delayed)
    assert abs(cues["itd"].item() - 5/16_000*1e6) < 8 and abs(cues["ild"].item() - 6.02) < 0.05
    assert torch.allclose(cues["bands"], torch.full((5,), 6.02), atol=0.3)
    back = audio.interaural(delayed.flip(0))
    assert abs(back["itd"].item() + cues["itd"].item()) < 1 and abs(back["ild"].item() + cues["ild"].item()) < 1e-3


def test_images_are_mirrors():
    room = audio.Room((4, 5, 3), reflect=0.5)
    places, gains = room.images(np.array([1.0, 2.0, 1.5]))
    assert gains.tolist() == [1] + [0.5]*6
    assert {tuple(p) for p in places} == {(1, 2, 1.5), (-1, 2, 1.5), (7, 2, 1.5), (1, -2, 1.5), (1, 8, 1.5),
                                          (1, 2, -1.5), (1, 2, 4.5)}
    with pytest.raises(PaperKitError, match="not in the room"): room.images(np.array([5.0, 2, 1]))


def test_direct_sound_arrives_in_time_and_the_tail_decays():
    room, listener, source = audio.Room(t60=0.3), np.array([4.65, 1.5, 1.6]), np.array([4.65, 4.93, 1.6])
    h = room.response(audio.kemar(), source, listener, np.random.default_rng(0))
    first = int(np.abs(h[0]).argmax())
    own = int(np.abs(audio.kemar().at(0)[0]).argmax())
    assert abs(first - own - 3.43/343*16_000) <= 1
    tail = room.tail(4800, 16_000, np.random.default_rng(1))
    early, late = (tail[:, :400]**2).mean(), (tail[:, 2400:2800]**2).mean()
    assert abs(10*np.log10(early/late) - 60*2400/16_000/0.3) < 3
    low, high = (np.array([np.corrcoef(*np.stack([np.fft.irfft(np.fft.rfft(e)*((f >= a) & (f < b))) for e in tail]))[
        0, 1] for f in [np.fft.rfftfreq(4800, 1/16_000)]])[0] for a, b in ((50, 300), (3000, 6000)))
    assert low > 0.8 and abs(high) < 0.3


def test_ambisonics_by_hand():
    x = np.ones(3)
    assert np.allclose(audio.encode(x, 0)[:, 0], [1, 1, 0, 0]) and np.allclose(audio.encode(x, 90)[:, 0],
                                                                               [1, 0, -1, 0], atol=1e-12)
    assert np.allclose(audio.encode(x, 0, 90)[:, 0], [1, 0, 0, 1], atol=1e-12)
    moving = audio.encode(x, np.array([-90.0, 0, 90]))
    assert np.allclose(moving[2], [1, 0, -1], atol=1e-12)


def test_decoder_gives_a_loudspeakers_wave_back_and_is_symmetric():
    head = audio.kemar()
    f = audio.decoder(head)
    for c, sign in ((0, 1), (1, 1), (2, -1), (3, 1)): assert np.allclose(f[c, 0], sign*f[c, 1], atol=1e-5)
    x = noise(4000).numpy()
    assert np.allclose(audio.decode(audio.encode(x, 50), head)[0], audio.decode(audio.encode(x, -50), head)[1],
                       atol=1e-4)


@pytest.mark.parametrize("name", audio.PLAYERS)
def test_players_play(name):
    a = audio.melody(name, 1.0, np.random.default_rng(3), sampled=False)
    assert a.shape == (16_000,) and np.isfinite(a).all() and abs(np.sqrt((a**2).mean()) - 0.1) < 1e-3
    assert np.array_equal(a, audio.melody(name, 1.0, np.random.default_rng(3), sampled=False))
    assert any(not np.array_equal(a, audio.melody(name, 1.0, np.random.default_rng(s), sampled=False))
               for s in range(4, 10))


@pytest.mark.parametrize("name, key", [("guitar", 45), ("cello", 45), ("trumpet", 69), ("piano", 57), ("harp", 69)])
@pytest.mark.parametrize("sampled", [False, True])
def test_notes_have_their_pitch(name, key, sampled):
    wave = audio.note(name, key, 1.0, np.random.default_rng(0), sampled=sampled)
    spectrum = np.abs(np.fft.rfft(wave*np.hanning(len(wave)), 8*len(wave)))
    f, wanted = np.fft.rfftfreq(8*len(wave), 1/16_000), 440*2**((key - 69)/12)
    harmonic = sum(spectrum[np.abs(f - k*wanted) < 0.03*k*wanted].max() for k in (1, 2, 3))
    between = sum(spectrum[np.abs(f - (k + 0.5)*wanted) < 0.03*wanted].max() for k in (1, 2, 3))
    assert harmonic > 5*between


def test_unknown_players_and_programs_are_named():
    with pytest.raises(PaperKitError, match="kazoo"): audio.note("kazoo", 60, 1.0, np.random.default_rng(0))
    with pytest.raises(PaperKitError, match="not read"): audio.sampled_note(3, 60, 1.0)


def test_distances_are_those_of_the_released_evaluation():
    librosa = pytest.importorskip("librosa")
    from scipy.signal import hilbert
    p, t = 0.3*noise(2, 6000), 0.3*noise(2, 6000, seed=1)
    theirs = 0.0
    for a, b in zip(p.numpy(), t.numpy()):
        A, B = (librosa.stft(v, n_fft=512, hop_length=160, win_length=400, center=True, pad_mode="constant")
                for v in (a, b))
        theirs += np.mean(np.stack([A.real - B.real, A.imag - B.imag])**2)
    assert abs(audio.stft_distance(p, t).item()/theirs - 1) < 1e-4
    env = sum(np.sqrt(np.mean((np.abs(hilbert(a)) - np.abs(hilbert(b)))**2)) for a, b in zip(p.numpy(), t.numpy()))
    assert abs(audio.envelope_distance(p, t).item()/env - 1) < 1e-4
    assert audio.stft_distance(t, t).item() == 0


def test_cue_error_sees_swapped_ears_and_forgives_loudness():
    x = torch.from_numpy(np.stack([np.convolve(noise(16_000).numpy(), h)[:16_000] for h in audio.kemar().at(50)]))
    same, swapped = audio.cue_error(0.5*x, x), audio.cue_error(x.flip(0), x)
    assert same["level"] < 1e-3 and same["phase"] < 1e-3 and swapped["level"] > 8 and swapped["phase"] > 0.5


def test_listener_is_fitted():
    azimuth = torch.linspace(-60, 60, 25)
    cues = {"itd": 8*azimuth, "ild": 0.2*azimuth}
    listener = audio.fit_listener(cues, azimuth)
    assert torch.allclose(listener.azimuth(cues).float(), azimuth, atol=0.1)
    assert listener.name(torch.tensor([-50.0, 0, 50])).tolist() == [-1, 0, 1]
    with pytest.raises(PaperKitError, match="too few"):
        audio.fit_listener({k: v[:2] for k, v in cues.items()}, azimuth[:2])


def test_separation_by_hand():
    a, b = noise(2, 8000).numpy()
    found = audio.separation_quality(np.stack([a + 0.1*b, b + 0.1*a]), np.stack([a, b]))
    assert (np.allclose(found["SIR"], 20, atol=0.6) and np.allclose(found["SDR"], 20, atol=0.6)
            and (found["SAR"] > 40).all())
    with pytest.raises(PaperKitError, match="silent"): audio.separation_quality(np.stack([a, 0*a]), np.stack([a, b]))


def test_mp3_comes_back_and_refuses_stereo():
    soundfile = pytest.importorskip("soundfile")
    import io
    x = 0.3*np.sin(2*np.pi*440*np.arange(16_000)/16_000)
    back, rate = soundfile.read(io.BytesIO(audio.mp3(x)))
    assert rate == 16_000 and abs(len(back) - 16_000) < 3000 and abs(np.sqrt((back[2000:14_000]**2).mean())
                                                                     - 0.3/math.sqrt(2)) < 0.02
    with pytest.raises(PaperKitError, match="mono"): audio.mp3(np.zeros((2, 100)))


def test_sound_from_a_file_at_another_rate(tmp_path):
    import soundfile
    own, t = 22_050, np.arange(22_050)/22_050
    sound = np.stack([np.sin(2*np.pi*440*t), 0.5*np.sin(2*np.pi*880*t)])
    soundfile.write(tmp_path/"two.wav", sound.T, own, subtype="FLOAT")
    found, at = audio.load(tmp_path/"two.wav"), np.arange(16_000)/16_000
    expected = np.stack([np.sin(2*np.pi*440*at), 0.5*np.sin(2*np.pi*880*at)])
    inside = slice(800, -800)                                          # away from both ends, where the sound stops
    assert found.shape == (2, 16_000) and np.abs(found - expected)[:, inside].max() < 2e-3
    assert np.allclose(audio.load(tmp_path/"two.wav", mono=True), found.mean(0), atol=1e-5)
    assert np.allclose(audio.resample(sound, own), found, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"RIFF\x10\x00\x00\x00WAVEfmt ", b"no sound at all"*9, None])
def test_what_is_no_sound_is_refused(content, tmp_path):
    if content is not None: (tmp_path/"a.wav").write_bytes(content)
    with pytest.raises(PaperKitError, match="a sound cannot be read"): audio.load(tmp_path/"a.wav")


def test_a_sound_that_is_not_finite_is_refused(tmp_path):
    import soundfile
    soundfile.write(tmp_path/"a.wav", np.array([0.0, np.nan, 1.0]*400), 16_000, subtype="FLOAT")
    with pytest.raises(PaperKitError): audio.load(tmp_path/"a.wav")


def test_a_spectrogram_shows_a_tone_where_it_is():
    import matplotlib.pyplot as plt
    t = np.arange(16_000)/16_000
    ax = audio.spectrogram(np.sin(2*np.pi*2000*t))
    levels = ax.collections[0].get_array().reshape(257, -1)
    assert abs(levels.mean(1).argmax()*16_000/512 - 2000) < 32 and levels.max() == 0 and levels.min() >= -60
    assert ax.get_xlabel() and ax.get_ylabel()
    plt.close(ax.figure)
