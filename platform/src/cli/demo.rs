//! `pulsewire demo`.

use super::{Settings, StopSignal};
use clap::Args;

#[derive(Args)]
pub(super) struct Demo {
    #[command(flatten)]
    settings: Settings,
}
impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let _ = (self.settings, StopSignal::listen()?);
        anyhow::bail!("not here yet")
    }
}
