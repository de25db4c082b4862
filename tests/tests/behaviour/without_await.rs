//! How the suite is written out for an adapter whose methods wait by themselves.

/// Waits for what a method returns.
macro_rules! wait {
    ($waiting:expr) => {
        $waiting
    };
}

/// A helper that waits.
macro_rules! waiting {
    (fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $output:ty)? $body:block) => {
        pub(crate) fn $name($($argument: $kind),*) $(-> $output)? $body
    };
}

/// A test, bounded in time.
macro_rules! test {
    ($(#[$attribute:meta])* fn $name:ident() $body:block) => {
        #[test]
        $(#[$attribute])*
        fn $name() {
            crate::behaviour::peer::bounded(|| $body);
        }
    };
}

/// A thread that waits beside the test.
macro_rules! beside {
    ($body:block) => {
        std::thread::spawn(move || $body)
    };
}

/// A handler for a server.
macro_rules! handler {
    ($connection:ident $(: $kind:ty)?, $body:block) => {
        move |mut $connection $(: $kind)?| $body
    };
}
