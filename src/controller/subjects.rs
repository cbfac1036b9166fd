//! Who could get round what is enforced, as roles and bindings of the cluster say now.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::gate::subjects::{Holdfast, Subjects, Survey};
use kube::Client;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::failure::Failed;
use super::slim;

/// How long an answer is taken for the next question, too: roles change seldom, and there may be many.
const REMEMBERED: Duration = Duration::from_secs(600);
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Looks through roles and bindings, and remembers what it found.
pub struct Lookout {
    client: Client,
    holdfast: Holdfast,
    last: Mutex<Option<(Instant, Arc<Subjects>)>>,
}

impl Lookout {
    /// One that knows who holdfast itself is.
    pub fn new(client: Client, namespace: &str, service_account: &str) -> Self {
        let holdfast = Holdfast { namespace: namespace.to_owned(), service_account: service_account.to_owned() };
        Self { client, holdfast, last: Mutex::default() }
    }

    /// Everybody who could; what it says may be ten minutes old. Whoever asks while somebody looks waits for what they find.
    ///
    /// # Errors
    /// [`Failed`]: then nothing is known, which is not that nobody could.
    pub async fn look(&self) -> Result<Arc<Subjects>, Failed> {
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, known)) if at.elapsed() < REMEMBERED => Ok(known.clone()),
            _ => self.again(&mut last).await,
        }
    }

    /// The same, looked through now: before something is promoted.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn look_now(&self) -> Result<Arc<Subjects>, Failed> {
        self.again(&mut *self.last.lock().await).await
    }

    async fn again(&self, last: &mut Option<(Instant, Arc<Subjects>)>) -> Result<Arc<Subjects>, Failed> {
        let found = Arc::new(self.survey().await?);
        *last = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    /// Roles first: of those that give no power nothing is kept, and bindings to them are passed over.
    async fn survey(&self) -> Result<Subjects, Failed> {
        let mut survey = Survey::new(self.holdfast.clone());
        slim::each(&self.client, &format!("{RBAC}/clusterroles"), |role| survey.cluster_role(&role)).await?;
        slim::each(&self.client, &format!("{RBAC}/roles"), |role| survey.role(&role)).await?;
        slim::each(&self.client, &format!("{RBAC}/clusterrolebindings"), |binding| survey.binding(&binding)).await?;
        slim::each(&self.client, &format!("{RBAC}/rolebindings"), |binding| survey.binding(&binding)).await?;
        Ok(survey.finish())
    }
}
