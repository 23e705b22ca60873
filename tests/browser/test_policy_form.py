"""The policy's form in Chromium: effect, release, versions, and the way back."""

from pathlib import Path

import httpx
from playwright.sync_api import Browser, expect

from tests.support.browser import open_policy_form, opened
from tests.support.fakes import image_bytes
from tests.support.server import serving

EVERYTHING_WAITS = {"NSFW_REVIEW_FROM": "0", "NSFW_REVIEW_TO": "1", "NSFW_THRESHOLD": "0.4"}


def test_a_policy_shows_its_effect_and_is_reverted(browser: Browser, tmp_path: Path) -> None:
    """Images move, waiting ones are released on request, and an earlier version returns."""
    with serving(tmp_path, **EVERYTHING_WAITS) as own:
        with httpx.Client(base_url=own.url, timeout=30) as client:
            while client.get("/readyz").status_code != 200:
                pass
            for number in range(3):
                path = f"/desk/images?name={number}.png&source=review"
                assert client.post(path, content=image_bytes(number)).json()["action"] == "review"
        with opened(browser, own.url) as page:
            open_policy_form(page)
            low = page.get_by_label("Review from").and_(page.locator("input:visible"))
            threshold = page.get_by_label("Threshold", exact=True)
            threshold = threshold.and_(page.locator("input:visible"))
            effect, save = page.locator("#policy-effect"), page.locator("#save-policy")
            expect(threshold).to_have_value("0.4")
            expect(effect).to_contain_text("No stored image moves")
            threshold.fill("0.99")
            low.fill("0.999")
            expect(effect).to_contain_text("A policy needs")
            low.fill("0.99")
            expect(effect).to_contain_text(
                "3 images move from review to allow. 3 waiting images fall outside of the band."
            )
            save.click()
            expect(page.get_by_text("Say why the policy is changed.")).to_be_visible()
            assert own.rows("select * from policies") == []
            page.get_by_label("Why").fill("too much to review")
            save.click()
            expect(effect).to_contain_text(
                "Saved as version 2. 3 images moved from review to allow. "
                "3 waiting images fall outside of the band and still wait."
            )
            page.get_by_role("button", name="Release 3 images now").click()
            expect(effect).to_contain_text("3 waiting images were released, without a decision.")
            expect(page.locator("#release-now")).to_be_hidden()
            facts = page.locator("#model-facts")
            expect(facts).to_contain_text("too much to review")
            assert own.rows("select * from decisions") == []
            entries = own.rows("select settled_at is null as open, settled_label from queue")
            assert entries == [{"open": 0, "settled_label": None}] * 3

            page.get_by_label("Take the numbers of").click()
            page.get_by_role("option", name="Version 1").click()
            expect(threshold).to_have_value("0.4")
            expect(effect).to_contain_text("3 images move from allow to review.")
            page.get_by_label("Why").fill("it missed some")
            save.click()
            expect(facts).to_contain_text("Policy, version 3")
            expect(facts).to_contain_text("Threshold 0.40, review 0.00 to 1.00. reviewer, ")
            audited = own.rows("select details from audit where action = 'policy' order by id desc")
            assert audited[0]["details"] == '{"version": 3, "reverts_to": 1}'

            with httpx.Client(base_url=own.url, timeout=30) as client:
                path = "/desk/images?name=3.png&source=review"
                assert client.post(path, content=image_bytes(3)).json()["action"] == "review"
            threshold.fill("0.99")
            low.fill("0.99")
            page.get_by_label("Release 1 image").check()
            page.get_by_label("Why").fill("too much again")
            save.click()
            expect(effect).to_contain_text("1 waiting image was released, without a decision.")
            expect(page.locator("#release-now")).to_be_hidden()

            page.get_by_role("button", name="Rules of categories").click()
            page.get_by_label("Gore or violence: action").click()
            page.get_by_role("option", name="Block").click()
            at = page.get_by_label("Gore or violence: threshold")
            at.and_(page.locator("input:visible")).fill("0.3")
            page.get_by_label("Why").fill("no gore")
            save.click()
            expect(facts).to_contain_text("Policy, version 5")
            expect(facts).to_contain_text("Gore or violence")
            expect(facts).to_contain_text("block from 0.30")
            (saved,) = own.rows("select category_rules from policies where version = 5")
            assert saved["category_rules"] == (
                '[{"category": "gore_or_violence", "threshold": 0.3, "action": "block"}]'
            )
