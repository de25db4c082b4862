//! What an input stands for, and what happens with it: `cargo run -p duologue-fuzz --example show -- TARGET FILE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(name), Some(file)) = (args.next(), args.next()) else {
        eprintln!("usage: show TARGET FILE");
        return ExitCode::from(2);
    };
    let Some(target) = duologue_fuzz::target(&name) else {
        let names: Vec<_> = duologue_fuzz::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("no target {name}; there are {}", names.join(", "));
        return ExitCode::from(2);
    };
    match std::fs::read(&file) {
        Ok(data) => {
            println!("{}", (target.show)(&data));
            (target.run)(&data);
            println!("{name} holds");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}
