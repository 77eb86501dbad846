# SPDX-License-Identifier: GPL-2.0
"""The pictures of "make bench-qemu", drawn by gnuplot from what was measured."""
import json
import re
import statistics
import subprocess

from .ui import LabError

FIGURES = (("seconds", "total time"), ("downtime", "downtime (QEMU's count)"),
           ("gap", "guest's longest gap"), ("source_cpu", "source's processor time"),
           ("sink_cpu", "sink's processor time"), ("wire", "bytes on the wire"))
COLOURS = ("#1b6ca8", "#63a4d8", "#c0392b", "#e67e22", "#f1c40f", "#7f8c8d", "#95a5a6",
           "#6d4c41", "#4e342e")


def traces_in(text, runs):
    """{run: [{seconds, transferred, dirty_rate, remaining, passes}]} of a log with traces."""
    traces, current = {}, []
    left = list(runs)
    for line in text.splitlines():
        match = re.match(r"trace ([0-9.]+) (\{.*\})\s*$", line)
        if match:
            ram = json.loads(match[2]).get("ram", {})
            current.append({"at": float(match[1]), "transferred": ram.get("transferred", 0),
                            "dirty_rate": ram.get("dirty-pages-rate", 0),
                            "remaining": ram.get("remaining", 0),
                            "passes": ram.get("dirty-sync-count", 0)})
        elif line.startswith("bench ") and '"end":"source"' in line:
            traces[left.pop(0)] = current
            current = []
    for points in traces.values():
        began = points[0]["at"] if points else 0
        for point in points:
            point["seconds"] = round(point.pop("at") - began, 3)
    return traces


def gnuplot(script, where):
    done = subprocess.run(["gnuplot"], input=script, text=True, capture_output=True, cwd=where,
                          check=False)
    if done.returncode:
        raise LabError(f"gnuplot: {done.stderr.strip()}")


def relative(moves, load, mode, figure, best):
    values = [m[figure] / best for m in moves[load]
              if m["mode"] == mode and m["completed"] and m.get(figure) is not None]
    return (statistics.median(values), min(values), max(values)) if values else None


def bars(where, moves, machines):
    """A panel a figure: each mode's, relative to the best of QEMU's own in that load."""
    loads = [load for load in moves if load not in ("converges", "hot", "reads", "wild", "trace") and moves[load]]
    if not loads:
        return
    modes = list(dict.fromkeys(m["mode"] for load in loads for m in moves[load]))
    modes.sort(key=lambda m: (not m.startswith("ferry"), m))
    width = 0.8 / len(modes)
    lines = ["set terminal pngcairo size 1500,1300 font 'sans,11'", "set output 'bars.png'",
             "set multiplot layout 3,2 title \"Migrations of one QEMU guest: figures relative to "
             "the best of QEMU's own ways (less is better; whiskers: lowest and highest)" +
             "".join(f"\\n{line}" for line in machines) + "\" noenhanced font ',11'",
             "set style fill solid 0.9 noborder", "set grid ytics", "set yrange [0:*<4]",
             f"set xrange [-0.6:{len(loads) - 0.4}]",
             "set xtics (" + ", ".join(f"'{load}' {n}" for n, load in enumerate(loads)) + ")",
             f"set boxwidth {width * 0.92}", "set key top right font ',9' opaque"]
    for figure, title in FIGURES:
        blocks, plots = [], []
        # One legend is enough, and it has room above the bars.
        lines += ["set offsets graph 0, graph 0, graph 0.7, graph 0"] if figure == FIGURES[0][0] \
            else ["unset key", "unset offsets"]
        for n, mode in enumerate(modes):
            rows = []
            for at, load in enumerate(loads):
                own = [[m[figure] for m in moves[load] if m["mode"] == peer and m["completed"]
                        and m.get(figure) is not None] for peer in modes
                       if not peer.startswith("ferry")]
                best = min((statistics.median(v) for v in own if v), default=0)
                found = relative(moves, load, mode, figure, best) if best else None
                if found:
                    rows.append(f"{at - 0.4 + (n + 0.5) * width:.4f} {found[0]:.4f} "
                                f"{found[1]:.4f} {found[2]:.4f}")
            if not rows:
                continue
            blocks.append(f"$m{n} << EOD\n" + "\n".join(rows) + "\nEOD")
            colour = COLOURS[n % len(COLOURS)]
            plots += [f"$m{n} using 1:2 with boxes lc rgb '{colour}' title '{mode}'",
                      f"$m{n} using 1:2:3:4 with yerrorbars pt -1 lc rgb '#333333' notitle"]
        if plots:
            lines += blocks + [f'set title "{title}"',
                               "plot 1 with lines dt 2 lc rgb '#333333' notitle, " +
                               ", ".join(plots)]
    gnuplot("\n".join(lines) + "\nunset multiplot\n", where)


def timeline(where, traces):
    """Bytes sent and the dirty rate over one migration, ours and QEMU's."""
    runs = [run for run, points in traces.items() if points]
    if not runs:
        return
    lines = ["set terminal pngcairo size 1200,800 font 'sans,11'", "set output 'timeline.png'",
             "set multiplot layout 2,1 title 'One migration under the heavy writer'",
             "set grid", "set key left top", "set xrange [0:*]"]
    for n, run in enumerate(runs):
        rows = (f"{p['seconds']} {p['transferred'] / 2**20:.2f} {p['dirty_rate']} "
                f"{p['remaining'] / 2**20:.2f}" for p in traces[run])
        lines.append(f"$t{n} << EOD\n" + "\n".join(rows) + "\nEOD")
    names = [run.removeprefix("trace-").partition("@")[0] for run in runs]
    for column, label in ((2, "MiB sent"), (3, "dirty pages/s")):
        lines += [f"set ylabel '{label}'", "set xlabel 'seconds'" if column == 3 else
                  "unset xlabel", "plot " + ", ".join(
                      f"$t{n} using 1:{column} with lines lw 2 lc rgb '{COLOURS[n * 2]}' "
                      f"title '{name}'" for n, name in enumerate(names))]
    gnuplot("\n".join(lines) + "\nunset multiplot\n", where)


def draw(where, moves, traces, machines=()):
    """MACHINES: lines about where it was measured, if not in the lab."""
    where.mkdir(parents=True, exist_ok=True)
    bars(where, moves, machines)
    timeline(where, traces)
