//! `pulsewire push-emulator`: a Web Push service, APNs and FCM on this machine, for whoever has no account at any of them.

use super::StopSignal;
use clap::Args;
use pulsewire_push_emulator::{Emulator, Options};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct PushEmulator {
    /// Where the providers are, over TLS. Port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:7443", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Where the page is. Port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:7480", value_name = "ADDR:PORT")]
    page: SocketAddr,
    /// Folder for certificate authority, keys, and a configuration that points a server here. They are made anew at each
    /// start.
    #[arg(long, default_value = "pulsewire-push-emulator", value_name = "DIR")]
    dir: PathBuf,
    /// Print addresses and files as one JSON document.
    #[arg(long)]
    json: bool,
}

impl PushEmulator {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut stop = StopSignal::listen()?;
        let emulator = Emulator::start(Options { listen: self.listen, page: self.page, dir: self.dir }).await?;
        let (config, providers) = (emulator.config_file(), emulator.address());
        if self.json {
            let document = serde_json::json!({
                "page": emulator.page_url(),
                "providers": providers.to_string(),
                "config": config.to_string_lossy(),
            });
            println!("{document}");
        } else {
            println!("page       {}", emulator.page_url());
            println!("providers  https://{providers}");
            println!("server     pulsewire serve --config {}", config.display());
        }
        stop.wait().await;
        emulator.stop().await;
        Ok(())
    }
}
