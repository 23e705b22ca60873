"""Single sign-on through Chromium with a certified provider, and the dialog of sessions."""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from nsfw_app.accounts import Accounts
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from tests.support.browser import resize, sign_out
from tests.support.oidc_provider import CLIENT, certified_provider
from tests.support.server import Server, free_port, serving


def sign_in(page: Page, server: Server, name: str) -> None:
    """Sign in at the provider, with its development pages, and consent."""
    page.goto(server.url)
    page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def open_sessions(page: Page, name: str) -> None:
    """Open the dialog with the button that has the caller's name."""
    button = page.locator("#access")
    expect(button).to_have_text(name)
    if not button.is_visible():
        page.get_by_role("button", name="Menu").click()
    button.click()


def check_dialog(page: Page) -> None:
    """The dialog has no accessibility fault and fits, also on a narrow dark screen."""
    dialog = page.get_by_role("dialog")
    for scheme, width in (("light", 1440), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        resize(page, width, 844)
        faults = Axe().run(page, context="dialog.access").response["violations"]
        assert [fault["id"] for fault in faults] == []
        assert dialog.evaluate("node => node.scrollWidth <= node.clientWidth")
    resize(page, 1440, 900)


def test_sign_in_sessions_and_sign_out(browser: Browser, tmp_path: Path) -> None:
    """A moderator reviews, a lead ends sessions and revokes a key by keyboard and signs out.

    The sign-out ends the provider's session, too; an account without a role is refused.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        certified_provider(url) as issuer,
        serving(
            tmp_path,
            port=port,
            NSFW_OIDC_ISSUER=issuer,
            NSFW_OIDC_ROLES="moderators=reviewer,ts-leads=admin",
            **CLIENT,
        ) as server,
    ):
        store = Store(
            server.data / "review.db", previews_dir=server.data / "images", journal_mode="wal"
        )
        Accounts(store).add_key(
            "uploads", [Permission.CLASSIFY], per_minute=9, actor="test", days=9
        )
        contexts = [browser.new_context(viewport={"width": 1440, "height": 900}) for _ in range(3)]
        mona, lea, eve = pages = [context.new_page() for context in contexts]
        errors: list[str] = []
        for page in (mona, lea):
            page.on("pageerror", lambda error: errors.append(str(error)))
        for page in pages:
            page.set_default_timeout(30_000)

        sign_in(mona, server, "mona")
        open_sessions(mona, "mona")
        dialog = mona.get_by_role("dialog", name="Your sessions")
        expect(dialog.get_by_role("listitem")).to_have_count(1)
        expect(dialog).to_contain_text("This browser")
        expect(dialog.get_by_role("heading", name="API keys")).to_be_hidden()
        mona.keyboard.press("Escape")
        expect(dialog).to_be_hidden()

        sign_in(lea, server, "lea")
        open_sessions(lea, "lea")
        dialog = lea.get_by_role("dialog", name="Sessions and API keys")
        expect(dialog.get_by_role("listitem")).to_have_count(3)
        expect(dialog).to_contain_text("classify; expires")
        check_dialog(lea)
        dialog.get_by_role("button", name="Revoke uploads").press("Enter")
        expect(lea.get_by_role("dialog", name="Revoke uploads")).to_be_visible()
        lea.keyboard.press("Enter")
        expect(dialog).to_contain_text("The key uploads is revoked.")
        expect(dialog).to_contain_text("No API key.")
        dialog.get_by_role("button", name="End session of mona").press("Enter")
        expect(dialog).to_contain_text("A session of mona has ended.")
        expect(dialog.get_by_role("heading", name="Sessions and API keys")).to_be_focused()
        mona.goto(server.url)
        expect(mona.get_by_role("link", name="Sign in with 127.0.0.1")).to_be_visible()

        lea.keyboard.press("Escape")
        sign_out(lea)
        lea.get_by_role("button", name="Yes, sign me out").click()
        expect(lea).to_have_url(f"{server.url}/login")
        lea.get_by_role("link", name="Sign in with 127.0.0.1").click()
        expect(lea.locator("input[name=login]")).to_be_visible()  # the provider's session ended

        sign_in(eve, server, "eve")
        expect(eve.get_by_role("alert")).to_contain_text("eve has no role on this page")
        for context in contexts:
            context.close()
    assert errors == []
