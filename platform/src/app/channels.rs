//! The ways to people that the configuration opens.

use crate::channels::{
    ApnsChannel, ApnsKey, ClientOptions, EmailChannel, EmailOptions, EmailTls, FcmChannel, PushClient, Reach,
    ServiceAccount, VapidKey, WebPushChannel, WebhookChannel,
};
use crate::config::{Config, SmtpTls};
use crate::ports::{PushChannel, SecretStore};
use anyhow::Context;
use std::sync::Arc;

/// Web Push and webhooks always, the others if they are configured. Web Push needs nothing from outside: its key is made at the
/// first start.
pub(super) async fn open(config: &Config, secrets: &dyn SecretStore) -> anyhow::Result<Vec<Arc<dyn PushChannel>>> {
    let push = &config.push;
    let options = ClientOptions {
        extra_root_file: push.extra_root_file.clone(),
        connect_timeout: push.connect_timeout,
        request_timeout: push.request_timeout,
    };
    // Users name where browsers' services are; the configuration names the others.
    let reach = if push.allow_private_endpoints { Reach::Anywhere } else { Reach::Public };
    let anywhere = PushClient::new(&options, Reach::Anywhere)?;
    let vapid = VapidKey::load(secrets, push.vapid_subject.clone()).await.context("loading the VAPID key")?;
    let client = PushClient::new(&options, reach)?;
    let public_url = config.http.public_url.clone();
    let mut channels: Vec<Arc<dyn PushChannel>> = vec![
        Arc::new(WebPushChannel::new(client.clone(), vapid, push.allow_private_endpoints)),
        Arc::new(WebhookChannel::new(client, public_url.clone(), push.allow_private_endpoints)),
    ];
    if let Some(apns) = &push.apns {
        let key = ApnsKey::read(&apns.key_file, apns.key_id.clone(), apns.team_id.clone())?;
        channels.push(Arc::new(ApnsChannel::new(anywhere.clone(), key, apns.url.clone(), apns.topic.clone())));
    }
    if let Some(fcm) = &push.fcm {
        let account = ServiceAccount::read(&fcm.service_account_file)?;
        channels.push(Arc::new(FcmChannel::new(anywhere, account, fcm.url.clone(), public_url.clone())));
    }
    if let Some(email) = &config.email {
        let tls = match email.tls {
            SmtpTls::Implicit => EmailTls::Implicit,
            SmtpTls::Required => EmailTls::Required,
            SmtpTls::Off => EmailTls::Off,
        };
        let (host, login) = (email.host.clone(), email.login.clone());
        let server = EmailOptions { host, port: email.port, tls, login };
        let options = ClientOptions { request_timeout: email.timeout, ..options };
        channels.push(Arc::new(EmailChannel::new(server, &options, email.from.clone(), public_url)?));
    }
    Ok(channels)
}
