//! 64-byte echoes per CPU-second in four simulated networks: one process per figure, so that none warms up another.
//!
//! `benches/simulators.sh` builds this twice (madsim replaces the runtime of a whole build) and prints the table.

mod contest;
mod duologue;
mod heap;
#[cfg(feature = "madsim")]
mod madsim;
#[cfg(feature = "turmoil")]
mod turmoil;

use std::time::Duration;

use contest::Contest;
use cpu_time::ProcessTime;

/// Runs one contestant, and prints its echoes per second of this process's CPU time.
fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, in_flight, millis, echoes] = &arguments[..] else {
        return Err("usage: CONTESTANT IN-FLIGHT LATENCY-MS ECHOES".into());
    };
    let number = |text: &String| text.parse::<u32>().map_err(|error| format!("{text}: {error}"));
    let contest = Contest {
        in_flight: number(in_flight)?,
        latency: Duration::from_millis(u64::from(number(millis)?)),
        echoes: number(echoes)?,
    };
    // User and kernel time of this process, to the nanosecond: short runs are measurable as well.
    let start = ProcessTime::now();
    let echoed = match &name[..] {
        "duologue" => duologue::run(contest, false),
        "duologue-owned" => duologue::run(contest, true),
        "heap" => heap::run(contest),
        #[cfg(feature = "madsim")]
        "madsim" => madsim::run(contest),
        #[cfg(feature = "turmoil")]
        "turmoil" => turmoil::run(contest),
        other => return Err(format!("{other} is not in this build")),
    };
    if echoed != contest.echoes {
        return Err(format!("{echoed} echoes came back, not {}", contest.echoes));
    }
    println!("{:.0}", f64::from(echoed) / start.elapsed().as_secs_f64());
    Ok(())
}
