use std::{io, path::PathBuf, time::Duration};

/// Why something that was asked for did not happen. The text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A file could not be read or written.
    #[error("{what} {path}: {source}", path = path.display())]
    File {
        /// What was attempted, such as `reading`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of this program that is not what it should be.
    #[error("{path}: {problem}; remove the file to start afresh", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP API does not answer.
    #[error("the HTTP API at {url} does not answer: {reason}; is the server running, and is --api right?")]
    ApiUnreachable {
        /// Base address.
        url: String,
        /// What the client says.
        reason: String,
    },
    /// Sign-in was refused.
    #[error("user {user:?} could not sign in at {url}: {detail}; is the password in the right environment variable?")]
    SignIn {
        /// Base address.
        url: String,
        /// User name.
        user: String,
        /// What the server says.
        detail: String,
    },
    /// The HTTP API refused a call.
    #[error("{call}: status {status}: {detail}")]
    Api {
        /// Method and path.
        call: String,
        /// HTTP status.
        status: u16,
        /// What the server says.
        detail: String,
    },
    /// No secret for a device, and no way to get one.
    #[error(
        "no secret for device {device:?}: {path} has none, and without a password there is no signing in to create \
         the device; set the environment variable {password_env} or name another --secret-file"
    )]
    NoSecret {
        /// Which device.
        device: String,
        /// Where secrets were looked for.
        path: String,
        /// Where a password was looked for.
        password_env: String,
    },
    /// A value that is not allowed.
    #[error("{name} is {value:?}: {allowed}")]
    Invalid {
        /// Option or field.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// A column that the file does not have.
    #[error("{file}: no column {column:?}; the columns are {present}")]
    MissingColumn {
        /// Which file.
        file: String,
        /// What was looked for.
        column: String,
        /// What there is.
        present: String,
    },
    /// What to take from a file could not be found out.
    #[error("{file}: {problem}")]
    Undetected {
        /// Which file.
        file: String,
        /// What is missing, and which option says it.
        problem: String,
    },
    /// A row that cannot be read, and `--strict`.
    #[error("{0}")]
    BadRow(crate::replay::BadRow),
    /// The server ended a session for good.
    #[error("device {device:?}: the server closed the session with {code}: {text}")]
    Closed {
        /// Which device.
        device: String,
        /// Close code, SPEC §10.
        code: u16,
        /// What the server says.
        text: String,
    },
    /// The server did not come back.
    #[error("device {device:?}: no progress for {after:?}, giving up; last problem: {last}")]
    GaveUp {
        /// Which device.
        device: String,
        /// How long was waited.
        after: Duration,
        /// The last problem.
        last: String,
    },
    /// A measurement that could not be made.
    #[error("measuring {what}: {problem}")]
    Measurement {
        /// What was measured.
        what: String,
        /// Why that was not possible.
        problem: String,
    },
    /// A defect of this program.
    #[error("a task of this program failed: {0}")]
    Task(String),
}

impl SimError {
    pub(crate) fn file(what: &'static str, path: &std::path::Path, source: io::Error) -> SimError {
        SimError::File { what, path: path.to_owned(), source }
    }
}

/// Runs blocking work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SimError> + Send + 'static,
) -> Result<T, SimError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SimError::Task(error.to_string()))?
}
