use std::time::Duration;

use tocsin_contracts::access::v1::access_service_server::AccessService;
use tocsin_contracts::access::v1::{
    AuditBreak, AuditEntry, AuditHead, BeginOidcSignInRequest, BeginOidcSignInResponse, CompleteOidcSignInRequest,
    CompleteOidcSignInResponse, CreateAccountRequest, CreateAccountResponse, CreateTokenRequest, CreateTokenResponse,
    DisableAccountRequest, DisableAccountResponse, ListAccountsRequest, ListAccountsResponse, ListAuditRequest,
    ListAuditResponse, ListSignInMethodsRequest, ListSignInMethodsResponse, ListTokensRequest, ListTokensResponse,
    RevokeTokenRequest, RevokeTokenResponse, SignInRequest, SignInResponse, SignOutRequest, SignOutResponse,
    VerifyAuditRequest, VerifyAuditResponse, WhoAmIRequest, WhoAmIResponse,
};
use tocsin_contracts::time::to_wire;
use tonic::{Request, Response, Status};

use super::{Caller, Fixture, Fleet, PEOPLE, refuse};

fn who(caller: &Caller) -> WhoAmIResponse {
    WhoAmIResponse {
        kind: "person".into(),
        name: caller.name.clone(),
        role: caller.role.clone(),
        all_sites: matches!(caller.role.as_str(), "engineer" | "admin"),
        sites: vec!["lyon".into(), "porto".into()],
    }
}

#[tonic::async_trait]
impl AccessService for Fixture {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let from = request.metadata().get("x-forwarded-for").cloned();
        let given = request.into_inner();
        if given.name == "eager" && from.is_none_or(|from| from != "198.51.100.7") {
            return Err(Status::resource_exhausted("too many attempts"));
        }
        let person = PEOPLE
            .iter()
            .find(|(name, _)| *name == given.name && given.password == "bell");
        let (name, role) = person.ok_or_else(|| Status::unauthenticated("no such name and password"))?;
        let caller = Caller {
            name: (*name).to_owned(),
            role: (*role).to_owned(),
        };
        Ok(Response::new(SignInResponse {
            session: format!("session-{name}"),
            expires_at: Some(to_wire(self.clock.now() + Duration::from_hours(8))),
            who: Some(who(&caller)),
        }))
    }

    async fn sign_out(&self, _: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        Ok(Response::new(SignOutResponse {}))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let caller = request
            .extensions()
            .get::<Caller>()
            .ok_or_else(|| Status::internal("no caller"))?;
        Ok(Response::new(who(caller)))
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Result<Response<ListAuditResponse>, Status> {
        let newest = 250;
        let asked = request.into_inner();
        let before = if asked.before_audit_id == 0 {
            newest + 1
        } else {
            asked.before_audit_id
        };
        let entry = |nth: i64| AuditEntry {
            audit_id: nth,
            at: self.ago((newest - nth) as u64 * 600),
            actor: if nth % 3 == 0 { "recalibrator" } else { "erik" }.into(),
            action: if nth % 3 == 0 {
                "baseline.follow"
            } else {
                "incident.acknowledge"
            }
            .into(),
            subject: if self.fleet == Fleet::Hostile {
                "<script>alert(1)</script>"
            } else {
                "porto/mill-07"
            }
            .into(),
            detail_json: r#"{"note":"<b>looked</b> at it","risen_db":0.4,"label":null}"#.into(),
        };
        let entries = (1..before).rev().take(asked.limit as usize).map(entry).collect();
        Ok(Response::new(ListAuditResponse { entries }))
    }

    async fn verify_audit(&self, _: Request<VerifyAuditRequest>) -> Result<Response<VerifyAuditResponse>, Status> {
        let broken = (self.fleet == Fleet::Hostile).then(|| AuditBreak {
            link: 17,
            reason: "its hash is not that of what it says".into(),
        });
        let head = AuditHead {
            link: 250,
            hash: vec![0xab; 32],
        };
        Ok(Response::new(VerifyAuditResponse {
            entries: 250,
            head: Some(head),
            broken,
        }))
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        let caller = request.extensions().get::<Caller>();
        if caller.is_none_or(|caller| caller.role != "admin") {
            return Err(Status::permission_denied("list tokens"));
        }
        Ok(Response::new(ListTokensResponse::default()))
    }

    refuse! {
        list_sign_in_methods, ListSignInMethodsRequest, ListSignInMethodsResponse;
        begin_oidc_sign_in, BeginOidcSignInRequest, BeginOidcSignInResponse;
        complete_oidc_sign_in, CompleteOidcSignInRequest, CompleteOidcSignInResponse;
        create_account, CreateAccountRequest, CreateAccountResponse;
        list_accounts, ListAccountsRequest, ListAccountsResponse;
        disable_account, DisableAccountRequest, DisableAccountResponse;
        create_token, CreateTokenRequest, CreateTokenResponse;
        revoke_token, RevokeTokenRequest, RevokeTokenResponse;
    }
}
