//! Reservations over HTTP, and what is told of them.

use super::*;

fn status_of(smdp: &Smdp, sid: &str) -> ReservationStatus {
    smdp.reservation(sid).unwrap().status
}

#[tokio::test]
async fn a_reservation_by_eid_runs_through_its_statuses_over_http() {
    let smdp = smdp();
    let admin = Admin::start(&smdp).await;
    let create = with_credentials(Request::post("/v1/ESimProfiles"));
    let (status, created) = admin.send(create, &format!("Eid={EID}")).await;
    assert_eq!(status, HttpStatus::CREATED);
    assert_eq!(created["status"], "new");
    assert_eq!(
        created["url"],
        format!("http://{HOST}/v1/ESimProfiles/{}", sid(&created))
    );
    smdp.wait_until(|smdp| status_of(smdp, sid(&created)) == ReservationStatus::Available)
        .await;
    let shown = admin
        .get(&format!("/v1/ESimProfiles/{}", sid(&created)))
        .await;
    assert_eq!(shown["smdp_plus_address"], HOST);
    assert!(shown["matching_id"].is_null() && shown["activation_code"].is_null());
    let list = admin
        .get(&format!("/v1/ESimProfiles?Eid={EID}&Status=available"))
        .await;
    assert_eq!(list["esim_profiles"], json!([shown]));
    let none = admin.get("/v1/ESimProfiles?Status=installed").await;
    assert_eq!(none["esim_profiles"], json!([]));
    admin.stop().await;
}

fn sid(reservation: &Value) -> &str {
    reservation["sid"].as_str().unwrap()
}

#[tokio::test]
async fn the_reservation_api_wants_credentials_and_knows_what_it_has() {
    let smdp = smdp();
    let admin = Admin::start(&smdp).await;
    let (status, problem) = admin.send(Request::get("/v1/ESimProfiles"), "").await;
    assert_eq!(
        (status, &problem["code"]),
        (HttpStatus::UNAUTHORIZED, &json!(20003))
    );
    let wrong = Request::get("/v1/ESimProfiles").header(AUTHORIZATION, "Basic AAAA");
    assert_eq!(admin.send(wrong, "").await.0, HttpStatus::UNAUTHORIZED);
    let unknown = with_credentials(Request::get("/v1/ESimProfiles/HP00"));
    let (status, problem) = admin.send(unknown, "").await;
    assert_eq!(
        (status, &problem["status"]),
        (HttpStatus::NOT_FOUND, &json!(404))
    );
    let neither = with_credentials(Request::post("/v1/ESimProfiles"));
    assert_eq!(admin.send(neither, "").await.0, HttpStatus::BAD_REQUEST);
    let delete = with_credentials(Request::delete("/v1/ESimProfiles"));
    assert_eq!(
        admin.send(delete, "").await.0,
        HttpStatus::METHOD_NOT_ALLOWED
    );
    admin.stop().await;
}

/// Reserves with a callback to a listener of the test: the request it gets when available.
async fn callback(method: &str) -> String {
    let smdp = smdp();
    let admin = Admin::start(&smdp).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http%3A%2F%2F{}%2Fchanged%3Fa%3Db",
        listener.local_addr().unwrap()
    );
    let form = format!("GenerateMatchingId=true&CallbackUrl={url}&CallbackMethod={method}");
    admin
        .send(with_credentials(Request::post("/v1/ESimProfiles")), &form)
        .await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !String::from_utf8_lossy(&request).contains("Iccid=") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    admin.stop().await;
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn a_status_change_is_told_by_post() {
    let request = callback("POST").await;
    assert!(
        request.starts_with("POST /changed?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    let (_, form) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        form.contains("ESimProfileSid=HP") && form.contains("Status=available"),
        "{form}"
    );
}

#[tokio::test]
async fn a_status_change_is_told_by_get() {
    let request = callback("GET").await;
    assert!(
        request.starts_with("GET /changed?a=b&AccountSid=AC"),
        "{request}"
    );
    assert!(request.contains("&Status=available"), "{request}");
}

#[tokio::test(start_paused = true)]
async fn a_reservation_follows_its_order_to_the_end() {
    let smdp = smdp();
    let reservation = smdp.reserve(crate::smdp::ReservationRequest::default());
    assert_eq!(reservation.status, ReservationStatus::New);
    let available = |smdp: &Smdp| status_of(smdp, &reservation.sid) == ReservationStatus::Available;
    smdp.wait_until(available).await;
    smdp.withdraw(reservation.order);
    assert_eq!(
        status_of(&smdp, &reservation.sid),
        ReservationStatus::Failed
    );
}

#[tokio::test]
async fn orders_and_reservations_survive_a_restart() {
    let folder = std::env::temp_dir().join(format!(
        "lpad-smdp-{}",
        hex::encode(crate::rsp::random::<8>())
    ));
    std::fs::create_dir(&folder).unwrap();
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let config = Config {
        state_folder: Some(folder.clone()),
        ..Config::new(HOST, pki)
    };
    let profile = Profile::builder(Iccid::nth(3)).build();
    let request = OrderRequest::for_eid(profile.clone(), EID);
    let (order, sid): (OrderId, String) = {
        let smdp = Smdp::new(config.clone()).unwrap();
        let order = smdp.create_order_once(request.clone());
        (
            order,
            smdp.reserve(crate::smdp::ReservationRequest::default()).sid,
        )
    };
    let smdp = Smdp::new(config).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(smdp.order(order).unwrap().profile(), &profile);
    assert_eq!(status_of(&smdp, &sid), ReservationStatus::Available);
    assert_eq!(smdp.create_order_once(request), order);
    let other = Profile::builder(Iccid::nth(4)).build();
    assert_ne!(
        smdp.create_order_once(OrderRequest::for_eid(other, EID)),
        order
    );
    assert_eq!(smdp.order(order).unwrap().state(), OrderState::Unavailable);
}
