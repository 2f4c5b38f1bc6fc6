//! `pulsewire push-emulator`: a Web Push service, APNs, FCM, a mail server and webhooks on this machine, for whoever has no account at any of them.

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
    /// Where the mail server is, with STARTTLS or TLS from the start. Port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR:PORT")]
    smtp: SocketAddr,
    /// The server that is told when somebody uses a button of a message on the page, like http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
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
        let options = Options { listen: self.listen, page: self.page, smtp: self.smtp, dir: self.dir };
        let emulator = Emulator::start(options).await?;
        if let Some(server) = &self.server {
            if !server.starts_with("http://") && !server.starts_with("https://") {
                anyhow::bail!("--server is {server:?}; an origin like http://127.0.0.1:8080 is wanted");
            }
            emulator.set_server(server);
        }
        let (config, providers) = (emulator.config_file(), emulator.address());
        if self.json {
            let document = serde_json::json!({
                "page": emulator.page_url(),
                "providers": providers.to_string(),
                "smtp": emulator.smtp_address().to_string(),
                "config": config.to_string_lossy(),
            });
            println!("{document}");
        } else {
            println!("page       {}", emulator.page_url());
            println!("providers  https://{providers}");
            println!("mail       smtp://{}", emulator.smtp_address());
            println!("server     pulsewire serve --config {}", config.display());
        }
        stop.wait().await;
        emulator.stop().await;
        Ok(())
    }
}
